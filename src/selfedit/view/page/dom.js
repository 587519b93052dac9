// The one way anything gets into the page: elements made here, every text a text node.

export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

export const $ = (selector, within = document) => within.querySelector(selector);

export function show(...children) {
  const main = $("#main");
  main.replaceChildren(...children.flat(3).filter(Boolean));
  return main;
}

export const percent = (share, digits = 1) => (share === null || share === undefined ? "?" : (100 * share).toFixed(digits));
export const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const signed = (value, digits = 2) => (value === null || value === undefined ? "–" : (value > 0 ? "+" : "") + value.toFixed(digits));
export const whole = (value) => value.toLocaleString("en");
export const withError = (mean, se) => `${percent(mean)}${se === null || se === undefined ? "" : ` ± ${percent(se)}`}`;

export const plusMinus = (mean, se) => `${signed(mean, 3)}${se === null || se === undefined ? "" : ` ± ${number(se, 3)}`}`;

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
export function ago(seconds) {
  const past = Date.now() / 1000 - seconds;
  const [size, unit] = [[86400, "day"], [3600, "hour"], [60, "minute"]].find(([size]) => past >= size) ?? [1, "second"];
  return RELATIVE.format(-Math.floor(past / size), unit);
}

export function pill(text, kind = "") {
  return el("span", { class: `pill ${kind}` }, text);
}

export function statePill(state) {
  return pill(state, state === "running" ? "accent running" : state === "finished" ? "good" : "warn");
}

// A table of cells that are texts or elements; "right" and "wrong" cells colour the answer before them.
export function table(columns, rows, { stack = true, numeric = [], attributes = () => ({}) } = {}) {
  const isNumber = (at) => numeric.includes(at);
  return el("div", { class: "scroll" }, el("table", { class: stack ? "stack" : "" },
    el("thead", {}, el("tr", {}, columns.map((name, at) => el("th", { class: isNumber(at) && "num", scope: "col" }, name)))),
    el("tbody", {}, rows.map((row) => el("tr", attributes(row), row.map((cell, at) =>
      cell instanceof Node && cell.tagName === "TD" ? cell
        : el("td", { class: isNumber(at) && "num", "data-label": typeof columns[at] === "string" ? columns[at] : "" }, cell)))))));
}

export function gradeClass(correct) {
  return correct === true ? "right" : correct === false ? "wrong" : "open";
}

// A text with every place of a word marked.
export function marked(text, word) {
  if (!word) return [text];
  const parts = [], lower = text.toLowerCase(), wanted = word.toLowerCase();
  let from = 0;
  for (let at = lower.indexOf(wanted); at >= 0 && parts.length < 400; at = lower.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), el("mark", {}, text.slice(at, at + word.length)));
    from = at + word.length;
  }
  return [...parts, text.slice(from)];
}

export function problem(error) {
  return el("p", { class: "problem", role: "alert" }, error.message ?? String(error));
}
