//! docs/configuration.md, from the tables of streams and parameters.

use std::fmt::Display;

use super::{
    DEFAULT_PATH, MAX_INDEX, Stream,
    params::{GLOBALS, GROUPS, Param, Preset},
    text::PREFIX,
};

/// The parameter reference as Markdown. docs/configuration.md is this text, byte for byte.
pub fn markdown() -> String {
    let mut text = introduction();
    text.push_str(&streams());
    for (title, params) in GROUPS {
        text.push_str(&format!("## {title}\n\n"));
        text.push_str("| key | values | default | modes |\n| --- | --- | --- | --- |\n");
        for param in params {
            text.push_str(&row(param, "<STREAM>_", "[i]", param.applies));
        }
        text.push_str(&details(params, "<STREAM>_", "[i]"));
    }
    text.push_str("## Daemon\n\n| key | values | default | modes |\n| --- | --- | --- | --- |\n");
    for param in GLOBALS {
        text.push_str(&row(param, "", "", param.applies));
    }
    text.push_str(&details(GLOBALS, "", ""));
    text.push_str(FORMS);
    text
}

fn introduction() -> String {
    format!(
        "# Configuration\n\n\
         <!-- Generated from the parameter table: UPDATE_DOCS=1 cargo test -p ipfix-balancer docs -->\n\n\
         One file, by default `{DEFAULT_PATH}`. Its keys are `{PREFIX}<STREAM>_<PARAMETER>[<index>]`; the\n\
         index goes from 0 to {MAX_INDEX}, gaps and any order are fine, and left out it is 0. A receiver\n\
         exists as soon as one of its keys is present. `ipfix-balancer check` shows what is in effect,\n\
         and all faults with their lines.\n\n\
         A parameter that has no effect in the receiver's mode may stay in the file: `check` notes it.\n\
         Changes take effect with `ipfix-balancer reload`; a faulty file changes nothing.\n\n"
    )
}

fn streams() -> String {
    let mut text = "## Streams\n\n".to_owned();
    text.push_str("| stream | default port | `ROTATE_MINUTES` | handler thread | records |\n");
    text.push_str("| --- | --- | --- | --- | --- |\n");
    for stream in Stream::ALL {
        let info = stream.info();
        let port = info.port.map_or("must be given".to_owned(), |port| port.to_string());
        text.push_str(&format!(
            "| `{}` | {port} | {} | `ipfix-{}-<index>` | {} |\n",
            info.name, info.rotate_minutes, info.thread, info.about
        ));
    }
    text.push('\n');
    text
}

fn row<T>(param: &Param<T>, before: &str, after: &str, modes: impl Display) -> String {
    let names = param.names().map(|name| format!("`{PREFIX}{before}{name}{after}`"));
    let names = names.collect::<Vec<_>>().join(" or ");
    let default = match &param.preset {
        Preset::Nothing(meaning) => (*meaning).to_owned(),
        Preset::Stream(_) => "see Streams".to_owned(),
        Preset::Value(value) => format!("`{value}`"),
    };
    format!("| {names} | {} | {default} | {modes} |\n", param.kind)
}

fn details<T>(params: &[Param<T>], before: &str, after: &str) -> String {
    let after = after.replace('i', "0");
    let before = before.replace("<STREAM>", Stream::Fullflow.info().name);
    let mut text = "\n".to_owned();
    for Param { name, about, example, .. } in params {
        text.push_str(&format!(
            "- `{name}`: {about} Example: `{PREFIX}{before}{name}{after}={example}`\n"
        ));
    }
    text.push('\n');
    text
}

pub(super) const FORMS: &str = "\
## How the file is read

- One `KEY=value` a line; `export ` before it and blanks around key, `=` and value don't matter.
- `#` begins a comment at the start of a line, of a value, or after a blank. Comments may be in any
  language and encoding; values are UTF-8. Windows line ends and a byte order mark don't matter.
- A value may stand in single or double quotes, and may then span lines. In double quotes `\\\\`, `\\\"`,
  `\\$` and `\\n` are escape sequences. Otherwise a value is literal: `$NAME` is not replaced.
- Words are read in any letter case. Lists are separated by commas, blanks don't matter.
- IPv6 addresses of destinations are written `[2001:db8::1]/4739` or `2001:db8::1/4739`.
- Keys without `IPFIX_` belong to other programs and are left alone. A key may be given only once,
  whichever way it is spelled.
";
