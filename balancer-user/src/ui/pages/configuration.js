// The receivers of a server: a table, a form, and the difference before it is applied.

import * as api from "./api.js";
import { announce, ask, button, diff, fill, h, notice, t, table } from "./dom.js";
import { Fields } from "./form.js";

/** The types that can be added. */
const STREAMS = ["FULLFLOW", "CLICKSTREAM", "DNSFLOW"];
/** Time without an entry after which entries are judged. */
const PAUSE = 300;

export async function configuration(place, server, alive) {
  const said = h("div", { id: "said" });
  const body = h("div", { id: "body" });
  place.append(said, body);
  await new Page(server, said, body, alive).load();
}

const title = (stream) => (STREAMS.includes(stream) ? t(`stream.${stream}`) : stream);

class Page {
  constructor(server, said, body, alive) {
    Object.assign(this, { server, said, body, alive });
  }

  path(what) {
    return api.server(this.server, `/configuration${what}`);
  }

  async load() {
    this.file = await api.get(this.path(""));
    if (!this.alive.aborted) this.showTable();
  }

  showTable() {
    const { form, path, can_undo: canUndo } = this.file;
    const may = api.mayChange();
    const row = (receiver) => {
      const value = (name) => receiver.fields.find((field) => field.name === name)?.value ?? "";
      const name = `${receiver.stream}[${receiver.index}]`;
      return {
        attributes: { "data-receiver": name },
        cells: [
          `${title(receiver.stream)} [${receiver.index}]`, value("PORT_TYPE"), value("PORT"), value("BALANCER"), value("BALANCER_SUB") || "–",
          h("span", { class: "actions" },
            button(may ? t("edit") : t("look"), () => this.showForm(receiver), { "data-action": "edit", "aria-label": t("edit.of", { name }) }),
            may && button(t("remove"), () => this.review([{ remove: { stream: receiver.stream, index: receiver.index } }]), { "data-action": "remove", "aria-label": t("remove.of", { name }) })),
        ],
      };
    };
    const columns = ["type", "port-type", "port", "balancer", "subreceivers", "actions"].map((name) => t(`column.${name}`));
    fill(this.body,
      h("div", { class: "toolbar" },
        may && button(t("add"), () => this.add(STREAMS[0]), { class: "main", "data-action": "add", "aria-label": t("add.receiver") }),
        button(t("daemon.settings"), () => this.showDaemon(), { "data-action": "daemon" }),
        may && canUndo && button(t("undo"), () => this.undo(), { "data-action": "undo" }),
        h("code", { class: "path" }, path)),
      form.faults.length > 0 && notice("bad", t("faults"), findings(form.faults)),
      form.receivers.length > 0 ? table(t("page.configuration"), columns, form.receivers.map(row)) : h("p", { class: "empty" }, t("no.receivers")),
      form.notes.length > 0 && h("details", { class: "notes" }, h("summary", {}, t("notes", { count: form.notes.length })), findings(form.notes)));
  }

  async add(stream, values) {
    await this.attempt(async () => {
      const blank = await api.get(this.path(`/blank?stream=${stream}`));
      this.showForm(blank, { isNew: true, values });
    });
  }

  /** The form of a receiver. */
  showForm(receiver, { isNew = false, values } = {}) {
    const { stream, index } = receiver;
    const find = (form) => form.receivers.find((one) => one.stream === stream && one.index === index)?.fields ?? [];
    const fields = new Fields(receiver.fields, { isNew, values, onchange: () => this.judgeSoon(fields, find) });
    const streams = STREAMS.includes(stream) ? STREAMS : [...STREAMS, stream];
    const choose = (event) => {
      // Ports and intervals of the other type's defaults are not carried over.
      const entered = Object.fromEntries(Object.entries(fields.values()).filter(([name, value]) => value !== receiver.fields.find((field) => field.name === name).value));
      this.add(event.target.value, entered);
    };
    const type = h("div", { class: "field" },
      h("label", { for: "stream" }, t("field.stream")),
      h("select", { id: "stream", disabled: !isNew, onchange: choose }, streams.map((one) => h("option", { value: one, selected: one === stream }, title(one)))),
      h("p", { class: "hint" }, t("index", { index })));
    this.again = async () => {
      const now = this.file.form.receivers.find((one) => one.stream === stream && one.index === index);
      const kept = fields.values();
      if (isNew) await this.add(stream, kept);
      else if (now) this.showForm(now, { values: kept });
      else this.showTable();
    };
    this.showFields(`${title(stream)} [${index}]`, fields, [type, ...fields.elements()], find);
  }

  /** The form of what is no receiver's. */
  showDaemon(values) {
    const find = (form) => form.daemon;
    const fields = new Fields(this.file.form.daemon, { values, onchange: () => this.judgeSoon(fields, find) });
    this.again = () => this.showDaemon(fields.values());
    this.showFields(t("daemon.settings"), fields, fields.elements(true), find);
  }

  showFields(heading, fields, elements, find) {
    const may = api.mayChange();
    const submit = (event) => {
      event.preventDefault();
      this.review(fields.changes(), fields, find);
    };
    this.elsewhere = h("div", { id: "elsewhere" });
    const form = h("form", { id: "receiver", onsubmit: submit, novalidate: true },
      h("h2", {}, heading), this.elsewhere,
      h("fieldset", { disabled: !may }, elements),
      h("div", { class: "actions" },
        may && button(t("review"), undefined, { type: "submit", class: "main", "data-action": "review" }),
        button(t("back"), () => this.showTable(), { "data-action": "back" })));
    fill(this.said);
    fill(this.body, form);
    form.querySelector("input:enabled, select:enabled")?.focus();
  }

  judgeSoon(fields, find) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.attempt(() => this.judge(fields, find)), PAUSE);
  }

  /** Has the checker look at what is entered. */
  async judge(fields, find) {
    const changes = fields.changes();
    const preview = await api.post(this.path("/preview"), { changes });
    this.showFaults(fields, find, preview);
    return preview;
  }

  showFaults(fields, find, preview) {
    const others = fields.judge(find(preview.form), preview.form.faults);
    fill(this.elsewhere, others.length > 0 && notice("bad", t("faults.elsewhere"), findings(others)));
  }

  /** Shows what changes come to, and makes them. */
  async review(changes, fields, find) {
    clearTimeout(this.timer);
    await this.attempt(async () => {
      const preview = await api.post(this.path("/preview"), { changes });
      if (fields) this.showFaults(fields, find, preview);
      if (preview.form.faults.length > 0) {
        fields?.focusFault();
        fill(this.said, notice("bad", t("faults.first"), fields ? null : findings(preview.form.faults)));
        return;
      }
      if (preview.diff === "") {
        fill(this.said, notice("good", t("nothing.changes")));
        return;
      }
      if (await this.confirmed(t("review.title"), preview.diff)) {
        await this.change("/apply", { revision: this.file.revision, changes });
      }
    });
  }

  async undo() {
    await this.attempt(async () => {
      const preview = await api.get(this.path("/previous"));
      if (await this.confirmed(t("undo.title"), preview.diff)) await this.change("/undo", { revision: this.file.revision });
    });
  }

  async confirmed(heading, text) {
    const buttons = [{ label: t("apply"), value: "apply", kind: "main" }, { label: t("cancel"), value: "cancel" }];
    return (await ask(heading, diff(text), buttons)) === "apply";
  }

  async change(what, body) {
    const applied = await api.post(this.path(what), body);
    await this.load();
    const text = applied.in_force ? t("applied", { reload: applied.reload }) : t("written", { reload: applied.reload });
    fill(this.said, notice(applied.in_force ? "good" : "warn", text));
    announce(text);
  }

  /** Does something, and says what went wrong. */
  async attempt(what) {
    try {
      await what();
    } catch (error) {
      if (this.alive.aborted) return;
      if (error.status === 409) this.showConflict(error);
      else fill(this.said, notice("bad", error.message));
    }
  }

  showConflict(error) {
    const reload = () => this.attempt(async () => {
      this.file = await api.get(this.path(""));
      if (this.body.querySelector("form")) await this.again();
      else this.showTable();
      fill(this.said, notice("warn", t("conflict.loaded")));
    });
    fill(this.said, notice("bad", error.message, " ", button(t("conflict.load"), reload, { "data-action": "reload" })));
  }
}

function findings(list) {
  return h("ul", {}, list.map(({ line, key, text }) =>
    h("li", {}, line === null ? "" : `${t("line", { line })} `, key && h("code", {}, key), key && ": ", text)));
}

