//! Which of the faults somebody means.

use super::Named;

/// A word by which no fault is meant.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no fault is called {0:?}: a number takes all of that number, 14 both 14a and 14b; a word takes what has it in its name"
)]
pub struct Unknown(pub String);

/// The faults that are meant by any of these words, in their own order; all if there is no word.
pub fn choose<'a>(faults: &'a [Named], words: &[String]) -> Result<Vec<&'a Named>, Unknown> {
    let unknown = |word: &&String| !faults.iter().any(|fault| is_meant(fault, word));
    if let Some(word) = words.iter().find(unknown) {
        return Err(Unknown(word.clone()));
    }
    let chosen = |fault: &&Named| words.is_empty() || words.iter().any(|word| is_meant(fault, word));
    Ok(faults.iter().filter(chosen).collect())
}

fn is_meant(fault: &Named, word: &str) -> bool {
    let of_number = || {
        let letters = fault.number.trim_start_matches(|c: char| c.is_ascii_digit());
        letters != fault.number && fault.number.strip_suffix(letters) == Some(word)
    };
    let in_name =
        || word.starts_with(char::is_alphabetic) && fault.name.to_lowercase().contains(&word.to_lowercase());
    fault.number == word || of_number() || in_name()
}

#[cfg(test)]
mod tests {
    use super::super::all;
    use super::*;

    fn numbers(words: &[&str]) -> Result<Vec<&'static str>, Unknown> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Ok(choose(all(), &words)?.iter().map(|fault| fault.number).collect())
    }

    #[test]
    fn a_number_takes_all_of_its_kind_and_a_word_what_has_it_in_its_name() {
        assert_eq!(numbers(&["14"]).unwrap(), ["14a", "14b"]);
        assert_eq!(numbers(&["14b", "3"]).unwrap(), ["3", "14b"]);
        assert_eq!(numbers(&["rolling"]).unwrap(), ["rolling"]);
        assert_eq!(numbers(&["flushed"]).unwrap(), ["19a", "19c"]);
        assert_eq!(numbers(&["39"]).unwrap(), ["39a", "39b"]);
        assert!(numbers(&["5"]).unwrap().starts_with(&["5", "5b"]));
        assert_eq!(numbers(&[]).unwrap().len(), all().len());
    }

    #[test]
    fn a_word_that_chooses_nothing_is_an_error_even_beside_one_that_does() {
        for word in ["99", "unheard-of", "14c", ""] {
            assert_eq!(numbers(&["1", word]), Err(Unknown(word.to_owned())));
        }
    }

    #[test]
    fn no_two_faults_have_one_number() {
        let mut numbers = numbers(&[]).unwrap();
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }
}
