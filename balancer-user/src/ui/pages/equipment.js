// The list of servers.

import * as api from "./api.js";
import { ask, button, fill, h, notice, t, table } from "./dom.js";

export async function equipment(place, _, alive, show) {
  const said = h("div", { id: "said" });
  const body = h("div", { id: "body" });
  place.append(said, body);
  await new Page(said, body, alive, show).load();
}

class Page {
  constructor(said, body, alive, show) {
    Object.assign(this, { said, body, alive, show });
  }

  async load() {
    const { local, remote } = await api.get("/api/servers");
    if (this.alive.aborted) return;
    const columns = ["name", "host", "login", "sudo", "type", "actions"].map((name) => t(`column.${name}`));
    const row = (server) => ({ attributes: { "data-server": server.name }, cells: cells(server, this.actions(server, server === local)) });
    fill(this.body,
      h("div", { class: "toolbar" }, api.mayChange() && button(t("add"), () => this.showForm(), { class: "main", "data-action": "add", "aria-label": t("add.server") })),
      table(t("page.equipment"), columns, [local, ...remote].map(row)));
  }

  actions(server, isLocal) {
    if (!api.mayChange()) return "";
    const { name } = server;
    return h("span", { class: "actions" },
      button(t("test"), () => this.test(name), { "data-action": "test", "aria-label": t("test.of", { name }) }),
      !isLocal && button(t("edit"), () => this.showForm(server), { "data-action": "edit", "aria-label": t("edit.of", { name }) }),
      !isLocal && button(t("remove"), () => this.remove(name), { "data-action": "remove", "aria-label": t("remove.of", { name }) }));
  }

  async test(name) {
    fill(this.said, notice("idle", t("testing", { name })));
    await this.attempt(async () => {
      const { works, detail } = await api.post(api.server(name, "/test"));
      fill(this.said, notice(works ? "good" : "bad", `${name}: ${detail}`));
    });
  }

  async remove(name) {
    const buttons = [{ label: t("remove"), value: "remove", kind: "main" }, { label: t("cancel"), value: "cancel" }];
    if ((await ask(t("remove.of", { name }), t("remove.server"), buttons)) !== "remove") return;
    await this.attempt(async () => {
      await api.remove(api.server(name));
      fill(this.said, notice("good", t("removed", { name })));
      await this.load();
    });
  }

  showForm(server = { name: "", host: "", login: "", sudo: false, type: "IPFIX-balancer server" }) {
    const field = (name, attributes = {}) => [
      h("label", { for: `server-${name}` }, t(`column.${name}`)),
      h("input", { id: `server-${name}`, value: server[name], autocomplete: "off", "aria-describedby": `server-${name}-hint`, ...attributes }),
      h("p", { class: "hint", id: `server-${name}-hint` }, t(`server.${name}`)),
    ];
    const value = (name) => document.getElementById(`server-${name}`).value.trim();
    const submit = async (event) => {
      event.preventDefault();
      const body = { name: value("name"), host: value("host"), login: value("login"), sudo: document.getElementById("server-sudo").checked, type: value("type") };
      await this.attempt(async () => {
        if (server.name === "") await api.post("/api/servers", body);
        else await api.put(api.server(server.name), body);
        fill(this.said, notice("good", t("saved", { name: body.name })));
        await this.load();
      });
    };
    fill(this.said);
    fill(this.body, h("form", { class: "narrow", onsubmit: submit },
      h("h2", {}, server.name === "" ? t("add.server") : t("edit.of", { name: server.name })),
      field("name", { required: true }), field("host", { required: true }), field("login"),
      h("label", { class: "check" }, h("input", { id: "server-sudo", type: "checkbox", checked: server.sudo }), " ", t("column.sudo")),
      h("p", { class: "hint" }, t("server.sudo")),
      h("label", { for: "server-type" }, t("column.type")),
      h("select", { id: "server-type" }, h("option", {}, server.type)),
      h("div", { class: "actions" },
        button(t("save"), undefined, { type: "submit", class: "main", "data-action": "save" }),
        button(t("back"), () => this.load(), { "data-action": "back" }))));
    document.getElementById("server-name").focus();
  }

  async attempt(what) {
    try {
      await what();
    } catch (error) {
      if (!this.alive.aborted) fill(this.said, notice("bad", error.message));
    }
  }
}

function cells({ name, host, login, sudo, type }, actions) {
  return [name, host, login || "–", sudo ? t("yes") : t("no"), type, actions];
}
