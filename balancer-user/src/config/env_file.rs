//! The `.env` file of packages: every parameter as a comment, with what holds without it.

use super::{
    MAX_INDEX, Stream,
    params::{GLOBALS, GROUPS, Param, Preset},
    text::PREFIX,
};

/// Columns of a comment, `# ` included.
const WIDTH: usize = 100;

/// A configuration file without a receiver, in which every parameter can be switched on by taking
/// away the `#` before it.
pub fn env_file() -> String {
    let mut text = introduction();
    let stream = Stream::Fullflow;
    for (title, params) in GROUPS {
        text.push_str(&format!("\n# ---- {title} ----\n"));
        for param in params {
            let key = format!("{PREFIX}{stream}_{}[0]", param.name);
            text.push_str(&entry(param, &key, param.preset(stream.info())));
        }
    }
    text.push_str("\n# ---- Daemon ----\n");
    for param in GLOBALS {
        text.push_str(&entry(param, &format!("{PREFIX}{}", param.name), None));
    }
    text
}

fn introduction() -> String {
    let mut text = comment(&format!(
        "Configuration of ipfix-balancer. Every parameter stands here with its default: to set one, \
         take the # before it away. Parameters without a default have an example instead. The keys \
         are those of the first Fullflow receiver; others have another stream or another index, 0 \
         to {MAX_INDEX}. A receiver exists as soon as one of its keys is set."
    ));
    text.push_str("#\n");
    text.push_str(&comment(
        "`ipfix-balancer check` shows what is in effect and everything that is wrong, \
         `ipfix-balancer reload` applies it. `man ipfix-balancer.env` says more.",
    ));
    text.push_str("#\n# Streams:\n");
    for stream in Stream::ALL {
        let info = stream.info();
        let port = info.port.map_or("PORT must be given".to_owned(), |port| format!("PORT {port}"));
        let rotation = info.rotate_minutes;
        let line = format!("{}: {}; {port}, ROTATE_MINUTES {rotation}", info.name, info.about);
        text.push_str(&format!("#   {line}\n"));
    }
    text
}

/// What a parameter does, and its line. `preset` is the default's text where there is one.
fn entry<T>(param: &Param<T>, key: &str, preset: Option<String>) -> String {
    let mut about = format!("{} Values: {}. Modes: {}.", param.about, param.kind, param.applies);
    let value = match (&param.preset, preset) {
        (Preset::Nothing(_), _) | (_, None) => param.example.to_owned(),
        (_, Some(preset)) => preset,
    };
    if let Preset::Nothing(meaning) = param.preset {
        about.push_str(&format!(" Default: {meaning}. Example:"));
    }
    format!("\n{}#{key}={value}\n", comment(&about))
}

/// A text as lines of a comment.
fn comment(text: &str) -> String {
    let mut lines = vec!["#".to_owned()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("# {word}")),
        }
    }
    lines.join("\n") + "\n"
}
