// Requests to the server that the page is from; what it refuses is an error with its sentence.

const GONE = "The server cannot be reached: see whether it still runs, and try again.";

let key = sessionStorage.getItem("key") ?? "";
let askForKey = async () => "";

/** Have `ask(sentence)` called when the server wants a key; it returns a promise of one. */
export function onKeyWanted(ask) {
  askForKey = ask;
}

/** A request that is refused, or cannot be made. */
export class Refusal extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** Ask, once more with each key that is given; `body` is an object for JSON, or a Blob. */
export async function ask(method, path, body, signal) {
  for (;;) {
    const response = await send(method, path, body, signal);
    if (response.ok) return response;
    const sentence = await sentenceOf(response);
    if (response.status !== 401) throw new Refusal(response.status, sentence);
    key = await askForKey(key ? sentence : "");
    sessionStorage.setItem("key", key);
  }
}

export async function askJson(method, path, body) {
  return (await ask(method, path, body)).json();
}

/** Yield the events of a stream; one that is an error is thrown. */
export async function* stream(path, body, signal) {
  const response = await ask("POST", path, body, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const {value, done} = await reading(reader);
    if (done) throw new Refusal(0, "The server ended in the middle of the text.");
    const lines = (text + value).split("\n");
    text = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6).trim();
      if (data === "[DONE]") return;
      const event = JSON.parse(data);
      if (event.error) throw new Refusal(0, event.error.message);
      yield event;
    }
  }
}

async function send(method, path, body, signal) {
  const headers = {};
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body instanceof Blob) headers["Content-Type"] = "application/octet-stream";
  const data = body === undefined || body instanceof Blob ? body : JSON.stringify(body);
  try {
    return await fetch(path, {method, headers, body: data, signal});
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal(0, GONE);
  }
}

async function reading(reader) {
  try {
    return await reader.read();
  } catch (error) {
    throw error.name === "AbortError" ? error : new Refusal(0, GONE);
  }
}

async function sentenceOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answers with status ${response.status}.`;
  }
}
