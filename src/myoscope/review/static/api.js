// What is said to the server. The address holds a token good for one exchange; the key that it buys stays in this tab.

const TAB = crypto.getRandomValues(new Uint32Array(4)).join("-");

export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export async function enter() {
  const token = location.hash.slice(1);
  if (token) {
    history.replaceState(null, "", "/");
    const { key } = await answerOf(fetch("/api/enter", { method: "POST", body: JSON.stringify({ token }) }));
    sessionStorage.setItem("key", key);
  }
}

function headers() {
  return { "X-Myoscope-Key": sessionStorage.getItem("key") ?? "", "X-Myoscope-Tab": TAB };
}

async function answerOf(call) {
  let answer;
  try {
    answer = await call;
  } catch {
    throw new Refused(0, "The server does not answer. Start it again: what was not confirmed is lost.");
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, said.error ?? `The server answered ${answer.status}.`);
  }
  return answer.json();
}

export const get = (path) => answerOf(fetch(path, { headers: headers() }));

export const post = (path, body = {}) =>
  answerOf(fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(body) }));

export async function bytes(path) {
  const answer = await fetch(path, { headers: headers() });
  if (!answer.ok) throw new Refused(answer.status, `The server answered ${answer.status}.`);
  return answer.arrayBuffer();
}

// Calls `told` with each event until the server is gone; then calls `gone`.
export async function listen(told, gone) {
  try {
    const answer = await fetch("/api/events", { headers: headers() });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.trim()) told(JSON.parse(line));
    }
  } catch {
    // as when the stream ends
  }
  gone();
}
