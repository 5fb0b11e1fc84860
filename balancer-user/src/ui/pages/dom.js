// Elements and texts. Text from elsewhere only ever becomes text, never markup.

let texts = {};

/** Loads the table of texts. */
export async function loadTexts() {
  texts = await (await fetch("/texts/en.json")).json();
}

/** A text of the table, with `{name}` replaced by values. */
export function t(key, values = {}) {
  const text = texts[key];
  if (text === undefined) {
    console.error(`no text ${key}`);
    return key;
  }
  return text.replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

/** Whether the table has a text. */
export const hasText = (key) => texts[key] !== undefined;

/** Makes an element: attributes, `on...` listeners, properties such as `value`, and children. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Replaces what is in an element. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

/** Says something to who can't see the page. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** A button. */
export function button(label, onclick, attributes = {}) {
  return h("button", { type: "button", onclick, ...attributes }, label);
}

/** A box for what went wrong, or well. */
export function notice(kind, ...children) {
  return h("div", { class: `notice ${kind}`, role: kind === "bad" ? "alert" : "status" }, ...children);
}

/** A table with a header row; on narrow screens each row becomes a block, with the names of columns. */
export function table(caption, columns, rows) {
  const cell = (content, index) => h("td", { "data-column": columns[index] }, content);
  return h("table", {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
    h("tbody", {}, rows.map((row) => h("tr", row.attributes ?? {}, (row.cells ?? row).map(cell)))));
}

/** Shows a dialog until it is closed; the value that it was closed with. */
export function ask(title, body, buttons) {
  const dialog = h("dialog", { "aria-labelledby": "dialog-title" },
    h("h2", { id: "dialog-title" }, title),
    h("div", { class: "dialog-body" }, body));
  const close = (value) => () => dialog.close(value);
  dialog.append(h("div", { class: "actions" }, buttons.map(({ label, value, kind, disabled }) =>
    button(label, close(value), { class: kind, "data-action": value, disabled }))));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

/** Lines that change, as `diff -u` shows them. */
export function diff(text) {
  const kind = (line) => {
    if (line.startsWith("+")) return "added";
    if (line.startsWith("-")) return "removed";
    return line.startsWith("@@") ? "place" : "";
  };
  const lines = text.split("\n").filter((line) => !/^(---|\+\+\+) /.test(line));
  return h("pre", { class: "diff", tabindex: "0", "aria-label": t("diff.label") },
    lines.map((line) => h("span", { class: kind(line) }, `${line}\n`)));
}

/** A whole number with blanks between thousands, or a rate with a sensible number of digits. */
export function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const digits = value !== 0 && Math.abs(value) < 10 ? 1 : 0;
  return value.toLocaleString("en", { maximumFractionDigits: digits }).replaceAll(",", "\u2009");
}

/** Bytes, with a unit. */
export function bytes(value) {
  if (value === null || value === undefined) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${number(value)} ${units[unit]}`;
}
