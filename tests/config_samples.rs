//! Every sample in `config/` is a configuration that works.

use std::env::VarError;
use std::fs;
use std::path::Path;

use serin::config;

#[test]
fn every_sample_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut samples = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // A part of the reference, which names it.
        let is_part = path.ends_with("apps.yaml");
        let is_yaml = path
            .extension()
            .is_some_and(|extension| extension == "yaml");
        if is_yaml && !is_part {
            let text = fs::read_to_string(&path).unwrap();
            let read_file = |file: &Path| fs::read_to_string(folder.join(file));
            let no_variable = |_: &str| Err(VarError::NotPresent);
            if let Err(errors) = config::parse(&text, &read_file, &no_variable) {
                panic!("{}", errors.display(&path));
            }
            samples += 1;
        }
    }
    assert!(samples >= 2, "there are samples");
}
