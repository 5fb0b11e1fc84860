// How a server is: what is wrong at the top, then each receiver with its destinations and charts.

import * as api from "./api.js";
import { Charts } from "./charts.js";
import { bytes, fill, h, number, t, table } from "./dom.js";

/** Time between two looks. */
const STEP = 2000;
/** Waiting bytes that are worth a warning. */
const LONG_QUEUE = 1 << 20;
/** How bad a state is. */
const ORDER = ["good", "idle", "warn", "bad"];

export async function overview(place, server, alive) {
  const summary = h("div", { id: "summary" });
  const receivers = h("div", { id: "receivers" });
  place.append(summary, receivers);
  const view = new View(server, summary, receivers, alive);
  await view.look(false);
  const timer = setInterval(() => view.look(true), STEP);
  alive.addEventListener("abort", () => {
    clearInterval(timer);
    view.charts.clear();
  });
}

class View {
  constructor(server, summary, receivers, alive) {
    Object.assign(this, { server, summary, receivers, alive });
    this.charts = new Charts(server, alive);
    this.cards = new Map();
  }

  /** Looks once; a look that takes long is not overtaken by the next. */
  async look(watching) {
    if (this.looking) return;
    this.looking = true;
    try {
      const status = await api.get(api.server(this.server, "/status"), { watching });
      if (!this.alive.aborted) this.show(status, performance.now());
    } catch (error) {
      if (!this.alive.aborted && api.visitor !== null) this.showFailure(error);
    } finally {
      this.looking = false;
    }
  }

  showFailure(error) {
    this.before = undefined;
    this.headline("bad", t("overview.unreachable"), [error.message]);
    this.charts.clear();
    this.cards.clear();
    fill(this.receivers);
  }

  show(status, now) {
    const rates = new Rates(this.before, status, now);
    const judged = status.receivers.map((receiver) => judge(receiver, rates));
    const worst = judged.reduce((sum, { kind }) => (ORDER.indexOf(kind) > ORDER.indexOf(sum) ? kind : sum), "good");
    const problems = judged.flatMap(({ name, problems: own }) => own.map((text) => `${name}: ${text}`));
    for (const { name, dropped } of status.interfaces) {
      const lost = total(dropped);
      if (lost > 0) problems.push(t("problem.interface", { name, lost: number(lost) }));
    }
    if (status.receivers.length === 0) this.headline("warn", t("overview.empty"), [h("a", { href: `#/configuration/${encodeURIComponent(this.server)}` }, t("page.configuration"))]);
    else this.headline(worst, t(`overview.${worst}`, { count: problems.length }), problems);
    const { version, uptime_seconds: uptime, process, log_level: level } = status;
    this.summary.append(h("p", { class: "facts" }, t("overview.facts", { version, uptime: duration(uptime), memory: bytes(process.resident_bytes), files: number(process.open_files), level })));
    this.showReceivers(status.receivers, judged, rates);
    this.before = { status, now };
  }

  headline(kind, text, details) {
    document.title = `${kind === "bad" || kind === "warn" ? "⚠ " : ""}${t("page.overview")} – ipfix-balancer`;
    fill(this.summary, h("div", { class: `headline ${kind}`, "data-state": kind },
      h("strong", {}, `${t(`sign.${kind}`)} ${text}`), details.length > 0 && h("ul", {}, details.map((detail) => h("li", {}, detail)))));
  }

  showReceivers(receivers, judged, rates) {
    const names = receivers.map(({ name }) => name);
    const same = names.length === this.cards.size && names.every((name) => this.cards.has(name));
    if (!same) {
      this.charts.clear();
      this.cards = new Map(names.map((name) => [name, card(name)]));
      fill(this.receivers, [...this.cards.values()].map(({ element }) => element));
      this.charts.show(new Map([...this.cards].map(([name, { chart }]) => [name, chart])));
    }
    receivers.forEach((receiver, index) => fillCard(this.cards.get(receiver.name), receiver, judged[index], rates));
  }
}

/** Changes of counters since the look before, for each second. */
class Rates {
  constructor(before, status, now) {
    const same = before && before.status.started_unix_seconds === status.started_unix_seconds;
    this.seconds = same ? (now - before.now) / 1000 : 0;
    this.counters = new Map(same ? before.status.receivers.flatMap((one) => [[one.name, one], ...one.destinations.map((to) => [key(one, to), to])]) : []);
  }

  of(name, now, what) {
    const old = this.counters.get(name);
    const more = old && this.seconds > 0 ? what(now) - what(old) : -1;
    return more >= 0 ? more / this.seconds : null;
  }
}

const key = (receiver, destination) => `${receiver.name} ${destination.address}/${destination.protocol}`;
const total = (reasons) => Object.values(reasons).reduce((sum, count) => sum + count, 0);
const list = (reasons) => Object.entries(reasons).map(([reason, count]) => `${number(count)} ${reason}`).join(", ") || "0";

/** How a receiver is, and what is wrong with it. */
function judge(receiver, rates) {
  const { name, destinations, recording, spool } = receiver;
  const bad = [];
  const warn = [];
  for (const destination of destinations) {
    const where = `${destination.address}/${destination.protocol}`;
    const { state } = destination;
    const error = destination.last_error ? ` (${destination.last_error})` : "";
    if (state === "down") bad.push(t("problem.down", { where }) + error);
    else if (state === "partly") warn.push(t("problem.partly", { where }) + error);
    else if (state === "connecting") warn.push(t("problem.connecting", { where }));
    if (rates.of(key(receiver, destination), destination, (it) => total(it.dropped)) > 0) bad.push(t("problem.dropping", { where, reasons: list(destination.dropped) }));
    if (destination.spooled_bytes > 0) warn.push(t("problem.spooled", { where, spooled: bytes(destination.spooled_bytes), age: duration(destination.spooled_seconds) }));
    if (destination.queued_bytes > LONG_QUEUE) warn.push(t("problem.queue", { where, queued: bytes(destination.queued_bytes) }));
  }
  if (rates.of(name, receiver, (it) => total(it.dropped)) > 0) bad.push(t("problem.input", { reasons: list(receiver.dropped) }));
  if (receiver.waiting_messages > 0) bad.push(t("problem.waiting", { count: number(receiver.waiting_messages) }));
  if (recording?.state === "failing") bad.push(t("problem.recording", { error: recording.last_error ?? "" }));
  if (spool && spool.state !== "ready") warn.push(t("problem.spool", { directory: spool.directory, error: spool.error ?? "" }));
  const idle = receiver.sessions === 0 ? "idle" : "good";
  return { name, kind: bad.length > 0 ? "bad" : warn.length > 0 ? "warn" : idle, problems: [...bad, ...warn] };
}

function card(name) {
  const [state, facts, destinations, chart] = [h("p", { class: "state" }), h("dl", { class: "facts" }), h("div"), h("div", { class: "chart" })];
  const element = h("section", { class: "card", "data-receiver": name, "aria-label": name }, h("h2", {}, name), state, facts, destinations, chart);
  return { element, state, facts, destinations, chart };
}

function fillCard(place, receiver, { kind, problems }, rates) {
  place.element.dataset.state = kind;
  fill(place.state, h("span", { class: `badge ${kind}` }, `${t(`sign.${kind}`)} ${t(`state.${kind}`)}`), " ", problems.join("; "));
  const rate = (what) => rates.of(receiver.name, receiver, what);
  const cpu = rate((it) => it.cpu_milliseconds);
  const facts = {
    mode: `${receiver.mode}, ${receiver.protocol} ${receiver.listen}`,
    rate: t("per-second", { messages: number(rate((it) => it.messages)), bytes: bytes(rate((it) => it.bytes)) }),
    total: `${number(receiver.messages)} / ${bytes(receiver.bytes)}`,
    sessions: number(receiver.sessions),
    waiting: number(receiver.waiting_messages),
    dropped: list(receiver.dropped),
    cpu: `${cpu === null ? "–" : `${number(cpu / 10)} %`} (${receiver.thread}, ${receiver.cpus.length > 0 ? receiver.cpus.join(", ") : t("unpinned")})`,
    path: `${receiver.path}: ${receiver.path_reason}`,
  };
  if (receiver.launched_by) facts.launched = receiver.launched_by;
  if (receiver.spool?.messages > 0) facts.spool = t("spool.turns", { count: number(receiver.spool.messages), spooled: bytes(receiver.spool.bytes), age: duration(receiver.spool.oldest_seconds) });
  if (receiver.recording) Object.assign(facts, recordingFacts(receiver.recording));
  fill(place.facts, Object.entries(facts).map(([name, value]) => h("div", { "data-fact": name }, h("dt", {}, t(`fact.${name}`)), h("dd", {}, value))));
  fill(place.destinations, receiver.destinations.length > 0 && destinationTable(receiver, rates));
}

function recordingFacts(recording) {
  const { directory, messages, open_files: open, finished_files: finished, waiting_bytes: waiting, last_file: last, last_error: error } = recording;
  return {
    directory, recorded: number(messages), files: t("files", { open: number(open), finished: number(finished) }),
    unwritten: bytes(waiting), ...(last && { last }), ...(error && { error }),
  };
}

function destinationTable(receiver, rates) {
  const columns = ["destination", "state", "rate", "messages", "queue", "spool", "dropped", "error"].map((name) => t(`column.${name}`));
  const row = (destination) => {
    const rate = (what) => rates.of(key(receiver, destination), destination, what);
    const kind = { up: "good", idle: "idle", down: "bad" }[destination.state] ?? "warn";
    const { up, connecting, down } = destination.connections;
    const connections = up + connecting + down > 0 ? ` ${up}/${up + connecting + down}` : "";
    return {
      attributes: { "data-destination": destination.address },
      cells: [
        `${destination.address}/${destination.protocol}`,
        h("span", { class: `badge ${kind}` }, `${t(`sign.${kind}`)} ${t(`connection.${destination.state}`)}${connections}`),
        t("per-second", { messages: number(rate((it) => it.messages)), bytes: bytes(rate((it) => it.bytes)) }),
        number(destination.messages), bytes(destination.queued_bytes), bytes(destination.spooled_bytes), list(destination.dropped), destination.last_error ?? "–",
      ],
    };
  };
  return table(t("destinations", { name: receiver.name }), columns, receiver.destinations.map(row));
}

function duration(seconds) {
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days > 0) return `${days} d ${hours} h`;
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`;
}

