// The page for who is not signed in.

import * as api from "./api.js";
import { button, fill, h, notice, t } from "./dom.js";

export function signInPage(place, header, done) {
  document.title = `${t("page.sign-in")} – ipfix-balancer`;
  fill(header, h("span", { class: "brand" }, "ipfix-balancer"));
  const complaint = h("div", { id: "complaint" });
  const name = h("input", { id: "name", autocomplete: "username", required: true });
  const password = h("input", { id: "password", type: "password", autocomplete: "current-password", required: true });
  const submit = button(t("sign-in"), undefined, { type: "submit", class: "main" });
  const signIn = async (event) => {
    event.preventDefault();
    submit.disabled = true;
    try {
      await api.signIn(name.value, password.value);
      done();
    } catch (error) {
      fill(complaint, notice("bad", error.message));
      submit.disabled = false;
      password.select();
    }
  };
  fill(place, h("h1", {}, t("page.sign-in")),
    h("form", { class: "narrow", onsubmit: signIn },
      complaint,
      h("label", { for: "name" }, t("name")), name,
      h("label", { for: "password" }, t("password")), password,
      h("div", { class: "actions" }, submit)));
  name.focus();
}
