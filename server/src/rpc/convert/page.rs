use super::Invalid;

const DEFAULT: u32 = 50;
const MOST: u32 = 1000;

/// How many items a page has.
pub fn page_size(size: u32) -> Result<u32, Invalid> {
    match size {
        0 => Ok(DEFAULT),
        1..=MOST => Ok(size),
        _ => Err(Invalid::value("page_size", size, format!("1 to {MOST} are allowed, or 0 for {DEFAULT}"))),
    }
}
