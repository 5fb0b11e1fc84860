use std::{env, fs, path::Path};

use super::{notes, receiver};
use crate::config::{
    Stream, env_file, manual, markdown,
    params::{self, Draft, GLOBALS, Globals, Param},
    text::PREFIX,
};

#[test]
fn docs_are_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, markdown()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap();
    assert!(committed == markdown(), "run UPDATE_DOCS=1 cargo test -p ipfix-balancer docs");
}

/// A receiver with every default and every example of the `.env` file of packages switched on.
#[test]
fn every_line_of_the_packaged_file_can_be_switched_on() {
    let text = env_file().replace("#IPFIX_", "IPFIX_");
    let names = params::all().map(|p| p.name).chain(GLOBALS.iter().map(|p| p.name));
    for name in names {
        let lines = text.lines().filter(|line| line.starts_with("IPFIX_"));
        let of_it = lines.filter(|line| {
            line.contains(&format!("_{name}[0]=")) || line.contains(&format!("X_{name}="))
        });
        assert_eq!(of_it.count(), 1, "{name}");
    }
    receiver(&text);
}

/// Lines that are not called examples say what holds without them.
#[test]
fn the_packaged_file_shows_the_defaults() {
    let file = env_file();
    assert_eq!(notes(&file), [" no receiver: no key of a stream in the file"]);
    let mut defaults = String::new();
    let mut before = "";
    for line in file.lines() {
        if let Some(default) = line.strip_prefix('#').filter(|rest| rest.starts_with(PREFIX))
            && !before.ends_with("Example:")
        {
            defaults.push_str(&format!("{default}\n"));
        }
        before = line;
    }
    assert_eq!(receiver(&defaults), receiver("IPFIX_FULLFLOW_PORT=1500"));
}

#[test]
fn the_manual_page_has_every_key() {
    // roff escapes hyphens and the dots at the beginnings of lines, but no key has any.
    let page = manual();
    for param in params::all() {
        for name in param.names() {
            assert!(page.contains(&format!("IPFIX_<STREAM>_{name}[i]")), "{name}");
        }
    }
}

#[test]
fn every_default_and_example_can_be_read() {
    for stream in Stream::ALL {
        let id = crate::config::ReceiverId { stream, index: 0, subreceiver: None };
        for param in params::all() {
            let mut draft = Draft::new(id);
            for text in
                param.preset(stream.info()).iter().map(String::as_str).chain([param.example])
            {
                assert_eq!((param.read)(&param.kind, text, &mut draft), Ok(()), "{}", param.name);
            }
        }
    }
    for Param { read, kind, example, .. } in GLOBALS {
        assert_eq!(read(kind, example, &mut Globals::default()), Ok(()));
    }
}

#[test]
fn shown_values_read_back() {
    for param in params::all() {
        let mut draft = Draft::new(crate::config::ReceiverId {
            stream: Stream::Fullflow,
            index: 0,
            subreceiver: None,
        });
        (param.read)(&param.kind, param.example, &mut draft).unwrap();
        let shown = (param.show)(&draft);
        let mut again = Draft::new(draft.receiver.id);
        (param.read)(&param.kind, &shown, &mut again).unwrap();
        assert_eq!(again.receiver, draft.receiver, "{}", param.name);
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = params::all().flat_map(Param::names).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn markdown_tables_have_no_stray_columns() {
    for row in markdown().lines().filter(|line| line.starts_with("| ")) {
        let columns = row.matches('|').count();
        assert!(columns == 5 || columns == 6, "{row}");
    }
}
