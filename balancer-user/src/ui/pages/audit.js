// Who has done what.

import * as api from "./api.js";
import { diff, h, t, table } from "./dom.js";

export async function audit(place) {
  const entries = await api.get("/api/audit");
  const columns = ["time", "account", "address", "action", "server", "detail"].map((name) => t(`column.${name}`));
  place.append(entries.length > 0 ? table(t("page.audit"), columns, entries.map(row)) : h("p", { class: "empty" }, t("audit.none")));
}

function row({ time, account, address, action, done, server, detail }) {
  const text = detail.includes("\n") ? h("details", {}, h("summary", {}, detail.split("\n", 1)[0]), diff(detail.slice(detail.indexOf("\n") + 1))) : detail;
  const kind = done ? "good" : "bad";
  return {
    attributes: { "data-action": action },
    cells: [
      h("time", { datetime: time }, new Date(time).toLocaleString("sv")), account, address,
      h("span", { class: `badge ${kind}` }, `${t(`sign.${kind}`)} ${t(`action.${action}`)}`), server ?? "–", text,
    ],
  };
}
