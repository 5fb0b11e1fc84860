//! Parameters of dump files.

use super::{
    Applies, DUMP_INSERT_PROCESSES, Kind, Param, Preset, ROTATE_DELAY_SECONDS, ROTATE_MINUTES,
    kind::{path, store},
};
use crate::config::{
    destinations::{copies, show_copies},
    names::Switch,
};

pub(super) const PARAMS: &[Param] = &[
    Param {
        name: ROTATE_MINUTES,
        aliases: &[],
        kind: Kind::Number { min: 0, max: 525_600, unit: "whole minutes" },
        preset: Preset::Stream(|stream| Some(stream.rotate_minutes.to_string())),
        applies: Applies::Record,
        about: "A new dump file is begun after this time, aligned to the clock (UTC); 0 = not by \
                time. The Clickstream receiver with the index of a Fullflow rotates with that. \
                Clickstream must not rotate more often than the Fullflow with the same index.",
        example: "10",
        read: |kind, text, draft| {
            kind.number(text).map(|v| draft.receiver.record.rotate_minutes = v)
        },
        show: |draft| draft.receiver.record.rotate_minutes.to_string(),
    },
    Param {
        name: ROTATE_DELAY_SECONDS,
        aliases: &[],
        kind: Kind::Number { min: 0, max: 31_536_000, unit: "whole seconds" },
        preset: Preset::Value("0"),
        applies: Applies::Record,
        about: "The same in seconds; above 0 the minutes are ignored.",
        example: "30",
        read: |kind, text, draft| {
            kind.number(text).map(|v| draft.receiver.record.rotate_delay_seconds = v)
        },
        show: |draft| draft.receiver.record.rotate_delay_seconds.to_string(),
    },
    Param {
        name: "FW_MAX_QUEUE_SIZE",
        aliases: &[],
        kind: Kind::Number { min: 0, max: 1_000_000_000_000, unit: "records" },
        preset: Preset::Value("0"),
        applies: Applies::Record,
        about: "New dump files are begun after so many flow (data) records of the receiver, too; \
                0 = off.",
        example: "1000000",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.record.max_records = v),
        show: |draft| draft.receiver.record.max_records.to_string(),
    },
    Param {
        name: DUMP_INSERT_PROCESSES,
        aliases: &["EXPORT"],
        kind: Kind::Copies,
        preset: Preset::Nothing("none"),
        applies: Applies::Record,
        about: "Destinations that get a copy of every message, each with its own protocol.",
        example: "10.19.3.21/1500/tcp, 10.19.3.22/1500/udp",
        read: |_, text, draft| {
            if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
                draft.receiver.record.copies.clear();
                draft.remark = Some("a bare number means no destination");
                return Ok(());
            }
            store(&mut draft.receiver.record.copies, copies(text))
        },
        show: |draft| show_copies(&draft.receiver.record.copies),
    },
    Param {
        name: "DPI_ID",
        aliases: &[],
        // observationPointId, which dump files carry it in, was 32 bits wide at first.
        kind: Kind::Number { min: -1, max: 4_294_967_295, unit: "" },
        preset: Preset::Value("-1"),
        applies: Applies::Record,
        about: "Number of the DPI device, noted in every dump file and its name; -1 = the \
                receiver's position in its stream's list, from 0, or a launched subreceiver's in \
                BALANCER_SUB.",
        example: "7",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.record.dpi_id = v),
        show: |draft| draft.receiver.record.dpi_id.to_string(),
    },
    Param {
        name: "DUMP_DIR",
        aliases: &[],
        kind: Kind::Path,
        preset: Preset::Value("/var/fast_ipfix_balancer/dump"),
        applies: Applies::Record,
        about: "Where dump files are written; created if it is not there.",
        example: "/data/dump",
        read: |_, text, draft| path(text).map(|v| draft.receiver.record.dir = v),
        show: |draft| draft.receiver.record.dir.display().to_string(),
    },
    Param {
        name: "DUMP_KEEP_DAYS",
        aliases: &[],
        kind: Kind::Number { min: 0, max: 36_500, unit: "days" },
        preset: Preset::Value("0"),
        applies: Applies::Record,
        about: "Older dump files of the receiver are deleted; 0 = kept for ever.",
        example: "30",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.record.keep_days = v),
        show: |draft| draft.receiver.record.keep_days.to_string(),
    },
    Param {
        name: "DUMP_KEEP_MB",
        aliases: &[],
        kind: Kind::Number { min: 0, max: 1_000_000_000, unit: "MB" },
        preset: Preset::Value("0"),
        applies: Applies::Record,
        about: "When the receiver's dump files take more, the oldest are deleted; 0 = no limit.",
        example: "500000",
        read: |kind, text, draft| kind.number(text).map(|v| draft.receiver.record.keep_mb = v),
        show: |draft| draft.receiver.record.keep_mb.to_string(),
    },
    Param {
        name: "DUMP_ZSTD",
        aliases: &[],
        kind: Kind::Choice(Switch::NAMES),
        preset: Preset::Value("off"),
        applies: Applies::Record,
        about: "Compress finished dump files with zstd.",
        example: "on",
        read: |kind, text, draft| kind.switch(text).map(|v| draft.receiver.record.zstd = v),
        show: |draft| on_off(draft.receiver.record.zstd),
    },
    Param {
        name: "DUMP_EMPTY",
        aliases: &[],
        kind: Kind::Choice(Switch::NAMES),
        preset: Preset::Value("off"),
        applies: Applies::Record,
        about: "Write a dump file of templates and options alone for a session that had nothing to \
                say in an interval.",
        example: "on",
        read: |kind, text, draft| kind.switch(text).map(|v| draft.receiver.record.empty = v),
        show: |draft| on_off(draft.receiver.record.empty),
    },
    Param {
        name: "ROTATE_HUP_PIDFILE",
        aliases: &[],
        kind: Kind::Path,
        preset: Preset::Nothing("nobody"),
        applies: Applies::Record,
        about: "The process in this pid file is sent HUP at every rotation, when its files have \
                their names.",
        example: "/run/loader.pid",
        read: |_, text, draft| {
            let file = if text.is_empty() { None } else { Some(path(text)?) };
            draft.receiver.record.hup_pidfile = file;
            Ok(())
        },
        show: |draft| {
            let file = draft.receiver.record.hup_pidfile.as_ref();
            file.map(|path| path.display().to_string()).unwrap_or_default()
        },
    },
    Param {
        name: "ROTATE_COMMAND",
        aliases: &[],
        kind: Kind::Command,
        preset: Preset::Nothing("none"),
        applies: Applies::Record,
        about: "This command line is run by the shell for every finished dump file, with the file's \
                name as its last argument.",
        example: "/usr/local/bin/load-dumps",
        read: |_, text, draft| {
            draft.receiver.record.command = (!text.is_empty()).then(|| text.to_owned());
            Ok(())
        },
        show: |draft| draft.receiver.record.command.clone().unwrap_or_default(),
    },
];

fn on_off(on: bool) -> String {
    if on { Switch::On } else { Switch::Off }.to_string()
}
