//! The inputs of the fuzz targets, without a fuzzer: the seeds, and all that fuzzing has found. What was
//! found stays found.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

fn folder(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind)
}

/// The entries of a folder; none where there is no such folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

#[test]
fn every_seed_and_every_finding_is_dealt_with() {
    let mut inputs = 0;
    for (name, run) in fuzz::ALL {
        let seeds = entries(&folder("seeds").join(name)).unwrap();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for input in seeds.into_iter().chain(entries(&folder("findings").join(name)).unwrap()) {
            // Should it panic, this line says by what.
            println!("{}", input.display());
            run(&fs::read(&input).unwrap());
            inputs += 1;
        }
    }
    assert!(inputs >= 30, "{inputs} inputs");
}

fn named(folder: &Path) -> Result<BTreeSet<String>> {
    let stem = |path: PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    Ok(entries(folder)?.into_iter().filter_map(stem).collect())
}

#[test]
fn every_target_is_built_and_has_its_folder_and_nothing_else_has() {
    let all: BTreeSet<String> = fuzz::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let check = || -> Result<()> {
        ensure!(named(&folder("seeds"))? == all, "fuzz/seeds");
        ensure!(named(&folder("fuzz_targets"))? == all, "fuzz/fuzz_targets");
        ensure!(named(&folder("findings"))?.is_subset(&all), "fuzz/findings");
        let manifest = fs::read_to_string(folder("Cargo.toml"))?;
        let built = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
        let built = built.map(|file| file.trim_end_matches(".rs\"").to_owned());
        ensure!(built.collect::<BTreeSet<_>>() == all, "fuzz/Cargo.toml");
        Ok(())
    };
    check().unwrap();
}
