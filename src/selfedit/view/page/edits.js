// Self-edits: a list of any length on the left, one context over all rounds on the right.
import { get } from "./api.js";
import { $, el, marked, number, percent, pill, problem, show, signed, whole } from "./dom.js";
import { ContextView } from "./context.js";

const ROW = 84, PAGE = 60;
// Browsers do not draw lower than some 30 million pixels.
const MOST = 250000;

export class EditsView {
  constructor(page) {
    this.page = page;
    this.pages = new Map();
    this.answers = 0;
    this.count = 0;
    this.at = -1;
  }

  show(query) {
    query = new URLSearchParams(query);
    const wanted = query.get("edit");
    query.delete("edit");
    const key = query.toString();
    if (!$("#edits") || this.root !== $("#main").firstElementChild) {
      this.query = query;
      this.build();
      this.context = new ContextView(this.page, $("#detail"), (id) => this.open(id, false), () => this.close());
      this.key = key;
      this.begin(wanted);
    } else if (key !== this.key) {
      this.query = query;
      this.key = key;
      this.fillFilters();
      this.begin(wanted);
    } else if (wanted !== String(this.opened ?? "")) this.opens(wanted);
  }

  build() {
    const pick = (name, label, options) => el("select", { id: `filter-${name}`, "aria-label": label, onchange: (event) => this.change({ [name]: event.target.value }) }, options.map(([value, text]) => el("option", { value }, text)));
    const bound = (name, label) => el("input", { id: `filter-${name}`, type: "number", step: "any", placeholder: label, "aria-label": label, onchange: (event) => this.change({ [name]: event.target.value }) });
    const contexts = el("datalist", { id: "contexts" });
    let asked = 0;
    const search = el("input", { id: "search", type: "search", placeholder: "Search in texts and passages' names  ( / )", "aria-label": "Search in texts and names", oninput: () => { clearTimeout(this.typing); this.typing = setTimeout(() => this.change({ q: search.value }), 80); } });
    const context = el("input", { id: "filter-context", list: "contexts", placeholder: "passage", "aria-label": "Passage", oninput: async () => {
      const own = ++asked, found = (await get("/api/contexts", { run: this.page.id, q: context.value })).contexts;
      if (own !== asked) return;
      contexts.replaceChildren(...found.map(([, name]) => el("option", { value: name })));
      const match = found.find(([, name]) => name === context.value);
      if (match || !context.value) this.change({ context: match?.[0] ?? "" });
    } });
    const list = el("div", { id: "edits", role: "listbox", tabindex: 0, "aria-label": "Self-edits" }, el("div", { id: "edits-height" }));
    this.root = el("div", { class: "split" },
      el("div", { class: "pane" },
        el("form", { class: "filters", role: "search", "aria-label": "Filter self-edits", onsubmit: (event) => event.preventDefault() }, search,
          el("div", { class: "row" },
            pick("place", "Round or method", [["", "all rounds"]]),
            pick("kept", "Kept", [["", "kept?"], ["1", "kept"], ["0", "not kept"]]),
            pick("cut", "Cut off", [["", "cut off?"], ["1", "cut off"], ["0", "ended by itself"]])),
          el("div", { class: "row" }, context, contexts, bound("least", "reward ≥"), bound("most", "reward ≤")),
          el("div", { class: "row" }, pick("sort", "Order", [["", "as written"], ["best", "best first"], ["worst", "worst first"], ["longest", "longest first"], ["loss", "highest loss first"]]),
            el("button", { type: "button", onclick: () => this.clear() }, "Clear"),
            el("a", { href: this.page.base, "data-key": "o" }, "Overview"), el("a", { href: `${this.page.base}/ask`, "data-key": "a", hidden: !(this.page.run.can_ask && this.page.all.can_ask) }, "Ask"),
            el("span", { id: "edits-count", role: "status" })),
          ), list),
      el("div", { class: "detail", id: "detail", tabindex: -1, role: "region", "aria-label": "The chosen passage" }, el("p", { class: "empty" }, "Choose a self-edit: its passage over all rounds is shown here.")));
    show(this.root);
    list.addEventListener("scroll", () => this.draw());
    list.addEventListener("step", (event) => this.step(event.detail));
    list.addEventListener("click", (event) => {
      const row = event.target.closest("[data-id]");
      if (row) { this.at = Number(row.dataset.n); this.open(Number(row.dataset.id)); }
    });
    list.addEventListener("keydown", (event) => {
      const far = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
      const moves = { Home: -this.count, End: this.count, PageUp: -far, PageDown: far };
      if (event.key === "Enter") $("#detail").focus();
      else if (event.key in moves) this.step(moves[event.key]);
      else return;
      event.preventDefault();
    });
    new ResizeObserver(() => this.draw()).observe(list);
    this.fillPlaces();
    this.fillFilters();
    if (!matchMedia("(max-width: 52rem)").matches) list.focus({ preventScroll: true });
  }

  // A running run, or one that is still being read, gets rounds while it is looked at.
  fillPlaces() {
    const select = $("#filter-place"), { places } = this.page.run;
    for (const place of places.slice(select.options.length - 1)) select.append(el("option", { value: place.id }, place.name));
  }

  fillFilters() {
    for (const name of ["place", "kept", "cut", "least", "most", "sort"]) $(`#filter-${name}`).value = this.query.get(name) ?? "";
    if (document.activeElement !== $("#search")) $("#search").value = this.query.get("q") ?? "";
    if (!this.query.get("context")) $("#filter-context").value = "";
  }

  // A filter is part of the address: it can be kept, sent, gone back from.
  change(values) {
    const query = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(values)) {
      if (value === "" || value === null) query.delete(name);
      else query.set(name, value);
    }
    history.replaceState(null, "", `${this.page.base}/edits?${query}`);
    this.show(query);
  }

  clear() {
    $("#search").value = "";
    history.replaceState(null, "", `${this.page.base}/edits`);
    this.show(new URLSearchParams());
  }

  async begin(wanted = null) {
    this.pages.clear();
    this.version = (this.version ?? 0) + 1;
    this.at = -1;
    const answer = await this.fetch(0, wanted);
    if (!answer) return;
    const list = $("#edits");
    list.scrollTop = 0;
    if (wanted && answer.position !== null) {
      this.at = answer.position;
      list.scrollTop = Math.max(0, this.at * ROW - list.clientHeight / 3);
    }
    this.draw();
    this.opens(wanted);
  }

  opens(wanted) {
    this.opened = wanted ? Number(wanted) : null;
    this.root.classList.toggle("opened", Boolean(wanted));
    if (wanted) this.context.show(this.opened, this.query.get("q") ?? "");
    this.draw();
  }

  refresh() {
    if (!this.root?.isConnected) return;
    this.pages.clear();
    this.context.forget();
    this.fillPlaces();
    const first = Math.floor(Math.max(0, $("#edits").scrollTop) / ROW / PAGE);
    this.fetch(first * PAGE).then(() => this.draw());
  }

  async fetch(offset, find = null) {
    const version = this.version, filters = Object.fromEntries(this.query);
    this.pages.set(offset / PAGE, null);
    let answer;
    try {
      answer = await get("/api/edits", { run: this.page.id, ...filters, offset, count: PAGE, find });
    } catch (error) {
      if (version === this.version) $("#edits-count").replaceChildren(problem(error));
      return null;
    }
    if (version !== this.version || !this.root.isConnected) return null;
    this.count = Math.min(answer.count, MOST);
    this.pages.set(offset / PAGE, answer.rows);
    const reading = answer.indexed < answer.total ? ` so far, ${percent(answer.indexed / answer.total, 0)} % read` : "";
    $("#edits-count").textContent = `${whole(answer.count)} self-edit${answer.count === 1 ? "" : "s"}${answer.count > MOST ? `, the first ${whole(MOST)} listed` : ""}${reading}`;
    $("#edits").dataset.answer = String(++this.answers);
    this.draw();
    return answer;
  }

  // Only what can be seen is there.
  draw() {
    const list = $("#edits"), height = $("#edits-height");
    if (!list || !this.root?.isConnected) return;
    height.style.height = `${this.count * ROW}px`;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 4), last = Math.min(this.count, first + Math.ceil(list.clientHeight / ROW) + 8);
    const rows = [];
    for (let n = first; n < last; n++) {
      const page = Math.floor(n / PAGE);
      if (!this.pages.has(page)) this.fetch(page * PAGE);
      const row = this.pages.get(page)?.[n % PAGE];
      if (row) rows.push(this.row(row, n));
    }
    height.replaceChildren(...rows, ...(this.count === 0 && this.answers ? [el("p", { class: "empty" }, "No self-edit matches. Clear the filter to see all.")] : []));
    const active = $(`[data-n="${this.at}"]`, height);
    if (active) list.setAttribute("aria-activedescendant", active.id);
    else list.removeAttribute("aria-activedescendant");
  }

  row(row, n) {
    const place = this.page.run.places.find((each) => each.id === row.place);
    const element = el("div", { class: "edit", id: `edit-${row.id}`, role: "option", "data-id": row.id, "data-n": n, "aria-selected": row.id === this.opened || n === this.at ? "true" : "false", "aria-setsize": this.count, "aria-posinset": n + 1 },
      el("div", { class: "line" }, el("span", { class: "name" }, row.name), row.kept === 1 && pill("kept", "accent"), row.cut === 1 && pill("cut off", "warn"), row.rejected === 1 && pill("rejected", "bad"),
        el("span", { class: "worth", title: row.reward === null ? "share of answers right" : "reward" }, row.reward !== null ? signed(row.reward) : row.right !== null ? `${percent(row.right, 0)} %` : "")),
      el("div", { class: "line soft" }, `${place?.name ?? ""} · #${row.candidate} · ${row.tokens} tokens${row.loss === null ? "" : ` · loss ${number(row.loss)}`}`),
      el("div", { class: "text" }, marked(row.text.replace(/\s+/g, " "), this.query.get("q"))));
    element.style.top = `${n * ROW}px`;
    return element;
  }

  step(by) {
    if (!this.count) return;
    this.at = Math.min(Math.max(this.at + by, 0), this.count - 1);
    const list = $("#edits"), top = this.at * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    this.draw();
    clearTimeout(this.stepping);
    this.stepping = setTimeout(() => {
      const row = this.pages.get(Math.floor(this.at / PAGE))?.[this.at % PAGE];
      if (row) this.open(row.id);
    }, 120);
  }

  close() {
    history.replaceState(null, "", `${this.page.base}/edits?${this.query}`);
    this.opens(null);
    $("#edits").focus({ preventScroll: true });
  }

  // The address says what is open; going back closes it on a narrow screen.
  open(id, scroll = true) {
    const query = new URLSearchParams(this.query);
    query.set("edit", id);
    const address = `${this.page.base}/edits?${query}`;
    if (this.opened) history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    this.opened = id;
    this.root.classList.add("opened");
    if (scroll) this.context.show(id, this.query.get("q") ?? "");
    this.draw();
  }
}
