// What the page asks its server. The token stands in the address's fragment, which no browser sends; it is kept for
// this tab alone and goes with every call.
const KEY = "selfedit-token";
const given = /[#&]token=([^&]+)/.exec(location.hash);
if (given) {
  sessionStorage.setItem(KEY, decodeURIComponent(given[1]));
  history.replaceState(null, "", `${location.pathname}#/`);
}

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

async function call(path, query, options = {}) {
  const address = new URL(path, location.origin);
  for (const [name, value] of Object.entries(query))
    if (value !== "" && value !== null && value !== undefined) address.searchParams.set(name, value);
  const headers = { authorization: `Bearer ${sessionStorage.getItem(KEY) ?? ""}`, ...options.headers };
  let reply;
  try {
    reply = await fetch(address, { ...options, headers, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server cannot be reached: was it stopped? Start selfedit view again and reload.");
  }
  if (reply.ok) return reply;
  const body = await reply.json().catch(() => ({}));
  throw new Refused(reply.status, body.error?.message ?? `the server answered ${reply.status}`);
}

export async function get(path, query = {}, signal = undefined) {
  return (await call(path, query, { signal })).json();
}

export async function post(path, query, body, signal = undefined) {
  return call(path, query, { method: "POST", body: JSON.stringify(body), signal, headers: { "content-type": "application/json" } });
}

// The data of server-sent events, read from a reply as they come.
export async function* eventsOf(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    waiting += value;
    const frames = waiting.split("\n\n");
    waiting = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

// Follow a run until told otherwise; whoever is told of news asks for what it shows.
export function follow(run, told) {
  let stop = new AbortController();
  const listen = async () => {
    const own = stop;
    while (!own.signal.aborted) {
      try {
        for await (const news of eventsOf(await call("/api/events", { run }, { signal: own.signal }))) {
          if (own.signal.aborted) return;
          told(news);
          if (news.gone) return;
        }
      } catch (error) {
        if (own.signal.aborted) return;
        told({ lost: error.message });
      }
      await new Promise((resolve) => setTimeout(resolve, 3000));
    }
  };
  // A hidden tab gives its connection back: a browser has six for a server.
  const look = () => {
    stop.abort();
    stop = new AbortController();
    if (!document.hidden) listen();
  };
  document.addEventListener("visibilitychange", look);
  look();
  return () => {
    document.removeEventListener("visibilitychange", look);
    stop.abort();
  };
}
