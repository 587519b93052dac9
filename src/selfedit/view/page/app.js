// Which page the address asks for, keys that work everywhere, and the token's entrance.
import { Refused, get, keepToken } from "./api.js";
import { $, el, problem, show } from "./dom.js";
import { comparePage } from "./compare.js";
import { runPage } from "./run.js";
import { runsPage } from "./runs.js";

let leave = () => {};
let shown = "";
let turn = 0;

export function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

// The parts of the address and what stands behind its question mark.
export function parts() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

export function crumbs(...items) {
  $("#crumbs").replaceChildren(...items.map(([text, href]) => (href ? el("a", { href, title: text }, text) : el("span", { title: text }, text))));
  document.title = [...items.map(([text]) => text)].reverse().concat("selfedit").join(" · ");
}

async function route() {
  const { path, query } = parts();
  // An answer that comes when the address has moved on is nobody's any more.
  const own = ++turn;
  const fresh = (value) => {
    if (own !== turn) throw new DOMException("left meanwhile", "AbortError");
    return value;
  };
  // The same run in another view keeps what it has, a list's place say.
  const key = path.slice(0, path[0] === "run" ? 2 : 3).join("/");
  if (key !== shown) {
    leave();
    leave = () => {};
    shown = key;
    $("#standing").replaceChildren();
    $("#tip").hidden = true;
  }
  try {
    const left = path[0] === "run" ? await runPage(path[1], path.slice(2), query, fresh) : path[0] === "compare" ? await comparePage(path[1], path[2], query, fresh) : await runsPage(fresh);
    if (left) leave = left;
  } catch (error) {
    if (error.name === "AbortError" || own !== turn) return;
    if (error instanceof Refused && error.status === 401) show(entrance());
    else {
      shown = "";
      show(problem(error), el("p", {}, el("a", { href: "#/" }, "All runs")));
      if (!(error instanceof Refused)) console.error(error);
    }
  }
}

function entrance() {
  const input = el("input", { type: "password", "aria-label": "Token", autocomplete: "off", required: true });
  const form = el("form", {}, el("h1", {}, "Which token?"),
    el("p", {}, "Open the address that ", el("code", {}, "selfedit view"), " printed, or paste it (or its token) here."),
    el("p", { class: "ask" }, el("span", { class: "row" }, input, el("button", { class: "main" }, "Open"))));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keepToken(input.value.trim().replace(/^.*token=/, ""));
    begin();
  });
  setTimeout(() => input.focus());
  return el("div", { class: "card" }, form);
}

// Only one run: its page is the first one.
async function begin() {
  if (location.hash === "" || location.hash === "#/") {
    try {
      const { runs } = await get("/api/runs");
      if (runs.length === 1) history.replaceState(null, "", `#/run/${runs[0].id}`);
    } catch { /* said by the page itself */ }
  }
  route();
}

const press = (key) => $(`[data-key=${key}]:not([hidden])`)?.click();
const typing = (target) => target.closest?.("input, select, textarea, dialog");

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && typing(event.target)) return event.target.blur();
  if (typing(event.target)) return undefined;
  const keys = {
    "?": () => $("#help").showModal(),
    "/": () => $("#search")?.focus(),
    Escape: () => $("[data-back]")?.click(),
    o: () => press("o"), s: () => press("s"), a: () => press("a"),
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  };
  const act = keys[event.key];
  if (act && act() !== false) event.preventDefault();
  return undefined;
});

// Rows that lead somewhere are walked with j and k; a list of its own (the self-edits) says so itself.
function step(by) {
  const list = $("#edits");
  if (list) return list.dispatchEvent(new CustomEvent("step", { detail: by }));
  const rows = [...document.querySelectorAll("tr.link")];
  if (!rows.length) return false;
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(Math.max(at + by, 0), rows.length - 1)].focus();
  return true;
}

$("#help-button").addEventListener("click", () => $("#help").showModal());
addEventListener("hashchange", () => {
  if (/[#&]token=/.test(location.hash)) location.reload();
  else route();
});
begin();
