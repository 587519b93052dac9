// A question to the model as it is and to what it has learned, side by side, as the answers are written.
import { eventsOf, post } from "./api.js";
import { $, el, pill, problem } from "./dom.js";

export function askView(page) {
  let running = null;
  const input = el("input", { id: "search", type: "text", required: true, maxlength: 4000, placeholder: "Who built the harbour?", "aria-label": "Question", autocomplete: "off" });
  const topic = el("input", { type: "text", maxlength: 500, placeholder: "topic, as the passage is titled (may be empty)", "aria-label": "Topic" });
  const which = el("select", { "aria-label": "Which document", hidden: true });
  const button = el("button", { class: "main" }, "Ask");
  const status = el("p", { class: "note", role: "status" }, "Greedy answers, nothing of any passage in the prompt. The model is loaded when you first ask.");
  const asking = el("p", { class: "soft" });
  const answers = el("div", { class: "answers", "aria-live": "polite" });
  const form = el("form", { class: "card ask" }, el("div", { class: "row" }, input, button), el("div", { class: "row" }, topic, which), status);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (running) return running.abort();
    running = new AbortController();
    button.textContent = "Stop";
    const { signal } = running;
    try {
      const begun = performance.now();
      status.textContent = "Loading the model; the first time this takes a while…";
      const names = await (await post("/api/load", { run: page.id }, {}, signal)).json();
      status.textContent = `The model is loaded${performance.now() - begun > 1000 ? ` (${((performance.now() - begun) / 1000).toFixed(0)} s)` : ""}.`;
      documents(which, names);
      const chosen = which.hidden ? "auto" : which.value;
      const asked = names.names.length > 1 ? [[names.base, "the model as it is"], [chosen, names.kind === "document" ? "the library" : names.kind === "policy" ? "the policy" : "the adapter"]] : [[names.base, "the model"]];
      const columns = asked.map(([name, title]) => {
        const text = el("div", { class: "text writing" }), source = el("span");
        return { name, text, source, element: el("section", { class: "card" }, el("h2", {}, title, " ", source), text) };
      });
      asking.textContent = `“${input.value.trim()}”`;
      answers.replaceChildren(...columns.map((column) => column.element));
      await Promise.all(columns.map((column) => write(page, column, input.value.trim(), topic.value.trim(), signal)));
    } catch (error) {
      if (error.name !== "AbortError") answers.replaceChildren(problem(error));
      status.textContent = error.name === "AbortError" ? "Stopped." : "";
    }
    running = null;
    button.textContent = "Ask";
    return undefined;
  });
  setTimeout(() => input.isConnected && input.focus());
  return el("div", {}, form, asking, answers);
}

function documents(which, names) {
  if (names.kind !== "document" || which.options.length) return;
  which.hidden = false;
  for (const name of names.names.filter((each) => each !== names.base)) which.append(el("option", { value: name }, name === "auto" ? "the document that knows it" : name));
}

async function write(page, column, question, topic, signal) {
  const body = { model: column.name, messages: [{ role: "user", content: question }], stream: true, max_tokens: 128, ...(topic && { topic }) };
  try {
    for await (const chunk of eventsOf(await post("/api/ask", { run: page.id }, body, signal))) {
      if (chunk.error) throw new Error(chunk.error.message);
      const source = chunk.selfedit;
      if (source && !column.source.firstChild) column.source.append(pill(source.document ? `from ${source.document}` : source.reason ?? source.name ?? source.source, source.source === "base" ? "" : "accent"));
      column.text.append(document.createTextNode(chunk.choices[0]?.delta?.content ?? ""));
    }
    if (!column.text.textContent.trim()) column.text.append(el("span", { class: "soft" }, "(nothing)"));
  } catch (error) {
    if (error.name !== "AbortError") column.text.append(problem(error));
  } finally {
    column.text.classList.remove("writing");
  }
}
