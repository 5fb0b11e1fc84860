// Charts of the last hour, one for each receiver.

import uPlot from "./uplot/uPlot.js";
import * as api from "./api.js";
import { bytes, fill, h, number, t } from "./dom.js";

/** Time between two looks. */
const STEP = 10000;
const HEIGHT = 180;
/** What charts show, in seconds. */
const HOUR = 3600;
/** What can be shown, and how its values are written. */
const MEASURES = {
  messages: number,
  bytes,
  dropped: number,
  cpu: (value) => (value === null ? "–" : `${number(value)} %`),
};
/** Can be told apart by colour-blind people, on light and dark grounds. */
const COLOURS = ["#3b82c4", "#d9822b", "#2f9e6e", "#b95fb0", "#c9a500", "#6b7fd7", "#c4514f", "#4fa3a5"];

export class Charts {
  constructor(server, alive) {
    Object.assign(this, { server, alive, plots: new Map(), places: new Map(), measure: localStorage.getItem("measure") ?? "messages" });
    if (!(this.measure in MEASURES)) this.measure = "messages";
    const resize = () => this.plots.forEach((plot, name) => plot.setSize({ width: this.places.get(name).clientWidth, height: HEIGHT }));
    addEventListener("resize", resize, { signal: alive });
  }

  /** Begins to show charts at these places, by receiver. */
  show(places) {
    this.places = places;
    this.look();
    this.timer = setInterval(() => this.look(), STEP);
  }

  clear() {
    clearInterval(this.timer);
    this.plots.forEach((plot) => plot.destroy());
    this.plots.clear();
    this.places = new Map();
  }

  async look() {
    try {
      const hour = await api.get(api.server(this.server, "/history"), { watching: true });
      if (this.alive.aborted) return;
      this.hour = hour;
      this.draw();
    } catch {
      // The page says that the server can't be reached; charts stay as they are.
    }
  }

  draw() {
    for (const [name, place] of this.places) {
      const series = this.hour.series.filter((one) => one.receiver === name && (one.destination === null || this.measure !== "cpu"));
      this.plots.get(name)?.destroy();
      const chart = h("div");
      fill(place, this.choice(name), this.hour.times.length === 0 ? h("p", { class: "hint" }, t("chart.soon")) : chart);
      if (this.hour.times.length > 0) this.plots.set(name, new uPlot(this.options(series, place.clientWidth), [this.hour.times, ...series.map((one) => one[this.measure])], chart));
    }
  }

  choice(name) {
    const choose = (event) => {
      this.measure = event.target.value;
      localStorage.setItem("measure", this.measure);
      this.draw();
    };
    const id = `measure-${name}`;
    return h("div", { class: "toolbar" }, h("label", { for: id }, t("chart.measure")),
      h("select", { id, onchange: choose }, Object.keys(MEASURES).map((one) => h("option", { value: one, selected: one === this.measure }, t(`measure.${one}`)))));
  }

  options(series, width) {
    const style = getComputedStyle(document.documentElement);
    const [ink, grid] = [style.getPropertyValue("--ink").trim(), style.getPropertyValue("--line").trim()];
    const write = MEASURES[this.measure];
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid } };
    const line = (one, index) => ({
      label: one.destination ?? t("chart.receiver"), stroke: COLOURS[index % COLOURS.length], width: one.destination ? 1 : 2,
      value: (_, value) => (value === undefined ? "–" : write(value)), spanGaps: false,
    });
    return {
      width, height: HEIGHT,
      scales: { x: { range: () => [this.hour.times.at(-1) - HOUR, this.hour.times.at(-1)] }, y: { range: (_, min, max) => [0, Math.max(max ?? 0, 1)] } },
      axes: [axis, { ...axis, size: 70, values: (_, values) => values.map(write) }],
      series: [{}, ...series.map(line)],
      legend: { live: true },
    };
  }
}
