//! The manual page of the `.env` file, from the tables of streams and parameters.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::{
    DEFAULT_PATH, MAX_INDEX, Stream,
    markdown::FORMS,
    params::{GLOBALS, GROUPS, Param, Preset},
    text::PREFIX,
};

/// The page `ipfix-balancer.env(5)`, for `man`.
pub fn manual() -> String {
    let mut page = Roff::new();
    let version = concat!("ipfix-balancer ", env!("CARGO_PKG_VERSION"));
    page.control("TH", ["ipfix-balancer.env", "5", "", version]);
    // Keys are to be found, so they are not hyphenated.
    page.control("nh", []);
    page.control("SH", ["NAME"]);
    page.text([roman("ipfix-balancer.env - configuration of ipfix-balancer")]);
    describe(&mut page);
    list_streams(&mut page);
    for (title, params) in GROUPS {
        list(&mut page, title, params, "<STREAM>_", "[i]");
    }
    list(&mut page, "Daemon", GLOBALS, "", "");
    say_how_it_is_read(&mut page);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("ipfix-balancer"), roman("(8), "), bold("ipfix-balancer-check"), roman("(8)")]);
    page.render()
}

fn describe(page: &mut Roff) {
    page.control("SH", ["DESCRIPTION"]);
    page.text([
        roman("One file, by default "),
        italic(DEFAULT_PATH),
        roman(format!(
            ". Its keys are {PREFIX}<STREAM>_<PARAMETER>[<index>]; the index goes from 0 to \
             {MAX_INDEX}, gaps and any order are fine, and left out it is 0. A receiver exists as soon \
             as one of its keys is present. A parameter that has no effect in the receiver's mode may \
             stay in the file."
        )),
    ]);
}

fn list_streams(page: &mut Roff) {
    page.control("SH", ["STREAMS"]);
    for stream in Stream::ALL {
        let info = stream.info();
        let port = info.port.map_or("PORT must be given".to_owned(), |port| format!("PORT {port}"));
        let rotation = info.rotate_minutes;
        item(page, bold(info.name));
        page.text([roman(format!(
            "{}. Defaults: {port}, ROTATE_MINUTES {rotation}. Its handlers are the threads \
             ipfix-{}-<index>.",
            info.about, info.thread
        ))]);
    }
}

fn list<T>(page: &mut Roff, title: &str, params: &[Param<T>], before: &str, after: &str) {
    page.control("SH", [title.to_uppercase().as_str()]);
    for param in params {
        let names = param.names().map(|name| format!("{PREFIX}{before}{name}{after}"));
        item(page, bold(names.collect::<Vec<_>>().join(", ")));
        let default = match &param.preset {
            Preset::Nothing(meaning) | Preset::Value(meaning) => meaning,
            Preset::Stream(_) => "that of the stream",
        };
        let (kind, modes) = (&param.kind, param.applies);
        page.text([roman(param.about)]);
        page.control("br", []);
        page.text([roman(format!("Values: {kind}. Default: {default}. Modes: {modes}."))]);
    }
}

fn say_how_it_is_read(page: &mut Roff) {
    let mut paragraphs = FORMS.split("\n- ");
    let title = paragraphs.next().unwrap_or_default().trim_matches(['#', ' ', '\n']);
    page.control("SH", [title.to_uppercase().as_str()]);
    for paragraph in paragraphs {
        let text = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        page.control("IP", ["\\(bu", "2"]);
        page.text([roman(text.replace('`', ""))]);
    }
}

fn item(page: &mut Roff, name: Inline) {
    page.control("TP", []);
    page.text([name]);
}
