// The frame: sign-in, navigation, and which page is shown. A page is a function of (place, server, alive):
// it fills the place, and stops what it does when `alive` is aborted.

import * as api from "./api.js";
import { announce, button, fill, h, loadTexts, t } from "./dom.js";
import { audit } from "./audit.js";
import { configuration } from "./configuration.js";
import { equipment } from "./equipment.js";
import { logs } from "./logs.js";
import { overview } from "./overview.js";
import { signInPage } from "./signin.js";

const PAGES = { overview, configuration, logs, equipment, audit };
/** Pages about one server. */
const OF_SERVER = ["overview", "configuration", "logs"];

const main = document.getElementById("main");
const header = document.getElementById("header");
let current = new AbortController();

/** Page and server that the address names. */
function where() {
  const [, page, server] = decodeURIComponent(location.hash).match(/^#\/([a-z]+)(?:\/(.*))?$/) ?? [];
  return { page: page in PAGES ? page : "overview", server: server || localStorage.getItem("server") || "local" };
}

const address = (page, server) => `#/${page}${OF_SERVER.includes(page) ? `/${encodeURIComponent(server)}` : ""}`;

async function show() {
  current.abort();
  current = new AbortController();
  const alive = current.signal;
  if (api.visitor === null) return signInPage(fill(main), fill(header), show);
  const { page, server } = where();
  localStorage.setItem("server", server);
  document.title = `${t(`page.${page}`)} – ipfix-balancer`;
  fill(main, h("p", { class: "loading" }, t("loading")));
  try {
    const list = await api.get("/api/servers");
    if (alive.aborted) return;
    const names = [list.local, ...list.remote].map((one) => one.name);
    // One that was removed meanwhile is nobody's page.
    const chosen = names.includes(server) ? server : "local";
    fillHeader(page, chosen, names);
    fill(main, h("h1", {}, t(`page.${page}`)));
    await PAGES[page](main, chosen, alive, show);
    announce(t(`page.${page}`));
  } catch (error) {
    if (!alive.aborted && api.visitor !== null) fill(main, h("p", { class: "notice bad", role: "alert" }, error.message));
  }
}

function fillHeader(page, server, names) {
  const choose = (event) => { location.hash = address(page, event.target.value); };
  const link = (name) => h("a", { href: address(name, server), "aria-current": name === page ? "page" : undefined }, t(`page.${name}`));
  fill(header,
    h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); main.focus(); } }, t("skip")),
    h("span", { class: "brand" }, "ipfix-balancer"),
    h("nav", { "aria-label": t("navigation") }, Object.keys(PAGES).map(link)),
    OF_SERVER.includes(page) && h("label", { class: "server" }, t("server"), " ",
      h("select", { id: "server", onchange: choose },
        names.map((name) => h("option", { value: name, selected: name === server }, name)))),
    h("span", { class: "visitor" },
      h("span", { id: "visitor" }, t("visitor", { ...api.visitor, role: t(`role.${api.visitor.role}`) })),
      button(t("theme"), changeTheme, { class: "quiet", "data-action": "theme" }),
      button(t("sign-out"), api.signOut, { class: "quiet", "data-action": "sign-out" })));
}

function changeTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", next);
  document.documentElement.dataset.theme = next;
  show();
}

const theme = localStorage.getItem("theme");
if (theme) document.documentElement.dataset.theme = theme;
await loadTexts();
api.whenSignedOut(show);
await api.resume();
addEventListener("hashchange", show);
show();
