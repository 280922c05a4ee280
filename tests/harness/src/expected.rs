//! What stands in a file because it was once looked at and found right.

use std::fs;
use std::path::Path;

use crate::{diff, in_ci};

/// Whether expectations are to be written, not compared: `NTREC_BLESS=1`. CI never does.
#[track_caller]
pub fn blessing() -> bool {
    let bless = std::env::var_os("NTREC_BLESS").is_some_and(|bless| bless == "1");
    assert!(!(bless && in_ci()), "NTREC_BLESS=1 is not for CI: what is expected there was reviewed before");
    bless
}

/// Compares with a file; the error is how they differ. With `NTREC_BLESS=1` the file is written, and its diff is to be
/// reviewed like code.
pub fn compare(file: &Path, found: &str) -> Result<(), String> {
    let shown = file.display();
    if blessing() {
        file.parent().map_or(Ok(()), fs::create_dir_all).map_err(|error| format!("{shown}: {error}"))?;
        return fs::write(file, found).map_err(|error| format!("{shown}: {error}"));
    }
    let expected = fs::read_to_string(file)
        .map_err(|error| format!("{shown}: {error}; NTREC_BLESS=1 writes it, to be reviewed"))?;
    if expected == found {
        return Ok(());
    }
    Err(format!("{shown} differs (NTREC_BLESS=1 rewrites it):\n{}", diff::lines(&expected, found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_an_error() {
        let error = compare(Path::new("/nonexistent/expected.txt"), "").unwrap_err();
        assert!(error.contains("/nonexistent/expected.txt") && error.contains("NTREC_BLESS=1"), "{error}");
    }

    #[test]
    fn a_file_is_equal_to_itself_only() {
        let file = Path::new(file!())
            .file_name()
            .map(|name| Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name));
        let (file, text) = (file.clone().unwrap(), fs::read_to_string(file.unwrap()).unwrap());
        assert_eq!(compare(&file, &text), Ok(()));
        let error = compare(&file, &format!("{text}more\n")).unwrap_err();
        assert!(error.ends_with("\n+more\n"), "{error}");
    }
}
