use std::fs;
use std::io::ErrorKind;

use marabunta_tests::faults::disk::Disk;

#[test]
fn a_disk_is_filled_and_freed_and_gone_with_its_test() {
    let disk = Disk::new(256 * 1024);
    let (kept, refused) = (disk.path().join("kept"), disk.path().join("refused"));
    fs::write(&kept, [7; 100_000]).unwrap();
    disk.fill();
    assert_eq!(fs::write(&refused, "one more").unwrap_err().kind(), ErrorKind::StorageFull);
    disk.free();
    fs::write(&refused, [0; 100_000]).unwrap();
    assert_eq!(fs::read(&kept).unwrap(), [7; 100_000]);
    let path = disk.path().to_owned();
    assert!(is_mounted(&path));
    drop(disk);
    assert!(!is_mounted(&path) && !path.exists());
}

fn is_mounted(path: &std::path::Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}
