// The form of one receiver, or of the daemon as a whole, and the changes that its values come to.

import { fill, h, hasText, t } from "./dom.js";

/** The fields of the form in their order, behind "Receiver type". All others stand behind "More". */
const MAIN = [
  "PORT_TYPE", "PORT", "ROTATE_MINUTES", "ROTATE_DELAY_SECONDS", "FW_MAX_QUEUE_SIZE", "DUMP_INSERT_PROCESSES",
  "DPI_ID", "BALANCER", "BALANCER_SUB", "BALANCER_SUB_PROTO", "BALANCER_AUTO",
];
/** What a new receiver has in the file, default or not: with it the file says what it is. */
const ALWAYS = ["PORT_TYPE", "PORT", "BALANCER"];
/** First among those behind "More". */
const FIRST = ["TASKSET", "ACCEL"];

/** Name of a field. */
export const label = (name) => (hasText(`field.${name}`) ? t(`field.${name}`) : name);

/** Fields with their inputs. `fields` are those of the API; `values` were entered before. */
export class Fields {
  constructor(fields, { isNew = false, values = {}, onchange = () => {} } = {}) {
    this.isNew = isNew;
    this.fields = fields;
    this.rows = new Map(fields.map((field) => [field.name, this.row(field, values[field.name], onchange)]));
  }

  /** The rows in the order of the form; `all`: nothing stands behind "More". */
  elements(all = false) {
    const row = (name) => this.rows.get(name)?.element;
    if (all) return [...this.rows.keys()].map(row);
    const others = [...this.rows.keys()].filter((name) => !MAIN.includes(name));
    const order = [...FIRST, ...others.filter((name) => !FIRST.includes(name))];
    this.more = h("details", { id: "more" }, h("summary", {}, t("more")), order.map(row));
    return [...MAIN.map(row), this.more];
  }

  row(field, entered, onchange) {
    const id = `field-${field.name}`;
    const value = entered ?? field.value;
    const described = `${id}-hint ${id}-idle ${id}-fault`;
    const attributes = { id, name: field.name, "aria-describedby": described, onchange, oninput: onchange };
    const input = makeInput(field, value, attributes);
    const idle = h("p", { class: "idle", id: `${id}-idle` });
    const fault = h("p", { class: "fault", id: `${id}-fault` });
    const element = h("div", { class: "field", "data-field": field.name },
      h("label", { for: id }, label(field.name)), input,
      h("p", { class: "hint", id: `${id}-hint` }, hint(field)), idle, fault);
    const row = { element, input, idle, fault };
    setIdle(row, field.idle);
    return row;
  }

  /** What is entered, by name. */
  values() {
    return Object.fromEntries([...this.rows].map(([name, { input }]) => [name, input.value.trim()]));
  }

  /** The changes that lead from the file to what is entered. */
  changes() {
    const values = this.values();
    return this.fields.flatMap((field) => {
      const value = values[field.name];
      if (this.isNew && ALWAYS.includes(field.name) && value !== "") return [{ set: { key: field.key, value } }];
      if (value === field.value) return [];
      if (value !== "") return [{ set: { key: field.key, value } }];
      return field.given ? [{ unset: { key: field.key } }] : [];
    });
  }

  /** Shows what the checker says of what is entered: faults at their fields. Gives back those of no field. */
  judge(fields, faults) {
    for (const field of fields) {
      const row = this.rows.get(field.name);
      if (row) setIdle(row, field.idle);
    }
    const keys = new Map(this.fields.map((field) => [field.key, field.name]));
    const own = faults.filter((fault) => keys.has(fault.key));
    for (const [name, row] of this.rows) {
      const texts = own.filter((fault) => keys.get(fault.key) === name).map((fault) => fault.text);
      fill(row.fault, texts.join("; "));
      row.input.setAttribute("aria-invalid", String(texts.length > 0));
      row.element.classList.toggle("faulty", texts.length > 0);
      if (texts.length > 0 && this.more?.contains(row.element)) this.more.open = true;
    }
    return faults.filter((fault) => !keys.has(fault.key));
  }

  /** Goes to the first field with a fault. */
  focusFault() {
    [...this.rows.values()].find((row) => row.element.classList.contains("faulty"))?.input.focus();
  }
}

function makeInput(field, value, attributes) {
  const { choice, number, text } = field.input;
  if (choice) {
    // What the file says need not be one of the words, or be spelled like it.
    const known = choice.find((word) => word.toLowerCase() === value.toLowerCase());
    const words = known || value === "" ? choice : [...choice, value];
    const select = h("select", attributes, words.map((word) => h("option", { value: word === known ? value : word }, word)));
    select.value = value;
    return select;
  }
  const input = number ? { inputmode: "numeric" } : { title: text };
  return h("input", { ...attributes, ...input, value, autocomplete: "off", spellcheck: "false" });
}

function hint({ about, input, default: preset }) {
  const { choice, number, text } = input;
  const unit = number?.unit ? ` ${number.unit}` : "";
  const form = choice ? "" : number ? t("form.number", { min: number.min, max: number.max, unit }) : t("form.text", { text });
  const missing = preset === null ? t("form.required") : t("form.default", { preset });
  return [about, form, missing].filter(Boolean).join(" ");
}

function setIdle(row, reason) {
  fill(row.idle, reason ?? "");
  row.element.classList.toggle("is-idle", Boolean(reason));
}
