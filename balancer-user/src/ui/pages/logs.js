// The last lines of a server's log: filtered, newest first or followed, and to keep.

import * as api from "./api.js";
import { fill, h, notice, t } from "./dom.js";

/** Time between two looks while lines are followed. */
const STEP = 1500;
/** Lines that are shown. */
const MAX_LINES = 2000;
/** Time without an entry after which a filter takes effect. */
const PAUSE = 300;
const LEVELS = ["error", "warn", "info", "debug", "trace"];

export async function logs(place, server, alive) {
  const view = new View(server, alive);
  place.append(view.toolbar(), view.said, view.list);
  await view.reload();
  const timer = setInterval(() => view.follow.checked && view.more(), STEP);
  alive.addEventListener("abort", () => clearInterval(timer));
}

class View {
  constructor(server, alive) {
    Object.assign(this, { server, alive, newest: 0 });
    this.said = h("div", { id: "said" });
    this.list = h("ol", { id: "lines", class: "log", tabindex: "0", "aria-label": t("page.logs") });
  }

  toolbar() {
    const later = () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.reload(), PAUSE);
    };
    const option = (value, label) => h("option", { value }, label);
    this.level = h("select", { id: "level", onchange: later }, LEVELS.map((level) => h("option", { value: level, selected: level === "trace" }, t(`level.${level}`))));
    this.receiver = h("select", { id: "log-receiver", onchange: later }, option("", t("log.all")));
    this.text = h("input", { id: "text", type: "search", oninput: later, autocomplete: "off" });
    this.follow = h("input", { id: "follow", type: "checkbox", onchange: () => this.reload() });
    this.download = h("a", { id: "download", class: "button", download: "ipfix-balancer.log" }, t("log.download"));
    this.offerReceivers();
    return h("div", { class: "toolbar" },
      h("label", { for: "level" }, t("log.level")), this.level,
      h("label", { for: "log-receiver" }, t("log.receiver")), this.receiver,
      h("label", { for: "text" }, t("log.text")), this.text,
      h("label", { class: "check" }, this.follow, " ", t("log.follow")), this.download);
  }

  async offerReceivers() {
    try {
      const { receivers } = await api.get(api.server(this.server, "/status"));
      this.receiver.append(...receivers.map(({ name }) => h("option", { value: name }, name)));
    } catch {
      // The lines will say why.
    }
  }

  query(after) {
    const wanted = { level: this.level.value, receiver: this.receiver.value, text: this.text.value.trim(), after };
    return new URLSearchParams(Object.entries(wanted).filter(([, value]) => value)).toString();
  }

  /** Shows what fits the filter, anew. */
  async reload() {
    this.newest = 0;
    this.download.href = `${api.server(this.server, "/log.txt")}?${this.query()}`;
    await this.ask(false, (lines) => {
      fill(this.list, lines.length === 0 && h("li", { class: "empty" }, t("log.none")));
      this.add(lines);
    });
  }

  /** Adds what has come since. */
  async more() {
    await this.ask(true, (lines) => this.add(lines));
  }

  async ask(watching, show) {
    const asked = this.query();
    try {
      const { lines, newest } = await api.get(`${api.server(this.server, "/log")}?${this.query(this.newest)}`, { watching });
      // Another filter was chosen meanwhile.
      if (this.alive.aborted || asked !== this.query()) return;
      this.newest = newest;
      fill(this.said);
      show(lines);
    } catch (error) {
      if (!this.alive.aborted && api.visitor !== null) fill(this.said, notice("bad", error.message));
    }
  }

  /** Newest first; when they are followed, newest last and in sight. */
  add(lines) {
    if (lines.length === 0) return;
    this.list.querySelector(".empty")?.remove();
    const items = lines.map(item);
    if (this.follow.checked) this.list.append(...items);
    else this.list.prepend(...items.reverse());
    while (this.list.children.length > MAX_LINES) (this.follow.checked ? this.list.firstChild : this.list.lastChild).remove();
    if (this.follow.checked) this.list.scrollTop = this.list.scrollHeight;
    else this.list.scrollTop = 0;
  }
}

function item({ at, level, text }) {
  const time = new Date(at / 1000);
  return h("li", { class: level }, h("time", { datetime: time.toISOString() }, time.toLocaleString("sv")), " ", h("span", { class: "level" }, t(`level.${level}`)), " ", text);
}
