//! What needs root: a file system of its own that runs full.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

/// Filters of the test runner find these by the word `root`.
mod root {
    use std::path::{Path, PathBuf};

    use ntc::{Capture, Error, Options, State, Writer};

    use crate::common::{self, all, batch, join, metadata};

    /// A small file system in memory, unmounted in the end.
    struct Disk {
        /// Where it is mounted.
        folder: tempfile::TempDir,
    }

    impl Disk {
        /// A file system of that size; nothing where this process may not mount.
        fn new(size: &str) -> Option<Self> {
            let folder = tempfile::tempdir().unwrap();
            let options = format!("size={size}");
            let mut mount = harness::program("mount");
            mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder.path());
            let mounted = mount.output().is_ok_and(|output| output.status.success());
            if mounted {
                return Some(Self { folder });
            }
            harness::skip("a file system cannot be mounted here, which needs root");
            None
        }

        /// A path on it.
        fn path(&self) -> PathBuf {
            self.folder.path().join("host.ntc")
        }

        /// Fills it up to the last byte.
        fn fill(&self) {
            let mut file = std::fs::File::create(self.folder.path().join("ballast")).unwrap();
            let block = [0x55; 4096];
            while std::io::Write::write_all(&mut file, &block).is_ok() {}
        }

        /// Bytes that are free on it.
        fn free(&self) -> u64 {
            let stat = rustix::fs::statvfs(self.folder.path()).unwrap();
            stat.f_bavail * stat.f_frsize
        }
    }

    impl Drop for Disk {
        fn drop(&mut self) {
            let _ = harness::program("umount").arg(self.folder.path()).status();
        }
    }

    /// Options as a recorder has them, with smaller row groups.
    fn options(group_rows: usize) -> Options {
        Options { reserve: 4 << 20, ..common::options(group_rows) }
    }

    /// Writes until the disk is full, then as much again as a ring buffer may hold.
    fn write_until_full(writer: &mut Writer) -> Vec<arrow_array::RecordBatch> {
        let (mut written, mut after) = (Vec::new(), None);
        while after.is_none_or(|after| after < 3) {
            let at = written.len() as u64;
            written.push(batch(at + 1, at * 2000, 2000));
            match writer.write(&written[at as usize]) {
                Ok(()) => after = after.map(|after| after + 1),
                Err(error) => {
                    assert!(error.is_full() && after.is_none(), "{error}");
                    after = Some(0);
                }
            }
            assert!(at < 1000, "never full");
        }
        written
    }

    /// Checks that a closed capture has exactly these rows.
    fn check(path: &Path, written: &[arrow_array::RecordBatch]) {
        let capture = Capture::open(path).unwrap();
        assert_eq!(*capture.state(), State::Closed);
        assert_eq!(all(&capture).columns(), join(written).columns());
    }

    #[test]
    fn a_full_disk_loses_nothing_that_was_accepted() {
        let Some(disk) = Disk::new("12m") else { return };
        let mut writer = Writer::create(&disk.path(), metadata(), options(2500), false).unwrap();
        let written = write_until_full(&mut writer);
        writer.finish().unwrap();
        check(&disk.path(), &written);
    }

    #[test]
    fn a_disk_that_others_fill_loses_nothing_that_was_accepted() {
        let Some(disk) = Disk::new("12m") else { return };
        let mut writer = Writer::create(&disk.path(), metadata(), options(2500), false).unwrap();
        disk.fill();
        let written = write_until_full(&mut writer);
        writer.finish().unwrap();
        check(&disk.path(), &written);
    }

    #[test]
    fn a_journal_without_room_stops_the_capture() {
        let Some(disk) = Disk::new("12m") else { return };
        let mut writer = Writer::create(&disk.path(), metadata(), options(1_000_000), false).unwrap();
        disk.fill();
        let rows = batch(1, 0, 2000);
        let error = writer.write(&rows).unwrap_err();
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        writer.finish().unwrap();
        check(&disk.path(), &[rows]);
    }

    #[test]
    fn a_small_disk_is_used() {
        let Some(disk) = Disk::new("6m") else { return };
        let mut writer = Writer::create(&disk.path(), metadata(), Options::default(), false).unwrap();
        let rows = batch(1, 0, 2000);
        writer.write(&rows).unwrap();
        writer.finish().unwrap();
        check(&disk.path(), &[rows]);
    }

    #[test]
    fn a_tiny_disk_is_refused_and_left_clean() {
        let Some(disk) = Disk::new("1m") else { return };
        let message =
            Writer::create(&disk.path(), metadata(), Options::default(), false).unwrap_err().to_string();
        assert!(
            message.contains("a capture needs at least 2097152; free some or choose another disk"),
            "{message}"
        );
        assert!(!disk.path().exists());
    }

    #[test]
    fn what_was_reserved_is_given_back() {
        let Some(disk) = Disk::new("12m") else { return };
        let before = disk.free();
        let mut writer = Writer::create(&disk.path(), metadata(), options(2500), false).unwrap();
        assert!(disk.free() + (4 << 20) <= before);
        writer.write(&batch(1, 0, 2000)).unwrap();
        let bytes = writer.finish().unwrap().bytes;
        assert!(disk.free() + bytes + 8192 >= before);
    }
}
