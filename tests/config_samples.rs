//! Every sample in `config/` is a configuration that works.

use std::fs;
use std::path::Path;

use serin::config;

#[test]
fn every_sample_is_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let mut samples = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = fs::read_to_string(&path).unwrap();
            if let Err(errors) = config::parse(&text, &|file| fs::read_to_string(folder.join(file)))
            {
                panic!("{}", errors.display(&path));
            }
            samples += 1;
        }
    }
    assert!(samples >= 2, "there are samples");
}
