// Requests to the API, as docs/openapi.json describes it.

let csrf = "";

/** Who is signed in: account and role. */
export let visitor = null;

/** Called when the session is over. */
let onSignedOut = () => {};

/** What was answered instead of what was asked for. */
export class Failure extends Error {
  constructor(status, body) {
    super(body?.error ?? `HTTP ${status}`);
    this.status = status;
    this.body = body;
  }
}

/** Sends a request. `watching`: nobody has touched the page. */
async function send(method, path, { body, watching } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (method !== "GET") headers["x-csrf-token"] = csrf;
  if (watching) headers["x-watching"] = "1";
  const response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const type = response.headers.get("content-type") ?? "";
  const answer = type.startsWith("application/json") ? await response.json() : await response.text();
  if (response.ok) return answer;
  if (response.status === 401 && visitor !== null) {
    visitor = null;
    onSignedOut();
  }
  throw new Failure(response.status, answer);
}

export const get = (path, options) => send("GET", path, options);
export const post = (path, body = {}) => send("POST", path, { body });
export const put = (path, body) => send("PUT", path, { body });
export const remove = (path) => send("DELETE", path);

/** The path of something of a server. */
export const server = (name, what = "") => `/api/servers/${encodeURIComponent(name)}${what}`;

export const mayChange = () => visitor?.role === "admin";

export function whenSignedOut(call) {
  onSignedOut = call;
}

/** Whether this browser is signed in already: the answer is 204 when it is not. */
export async function resume() {
  const signedIn = await get("/api/session");
  if (signedIn) accept(signedIn);
  return Boolean(signedIn);
}

export async function signIn(name, password) {
  accept(await post("/api/session", { name, password }));
}

export async function signOut() {
  await remove("/api/session");
  visitor = null;
  onSignedOut();
}

function accept(signedIn) {
  csrf = signedIn.csrf;
  visitor = { account: signedIn.account, role: signedIn.role };
}
