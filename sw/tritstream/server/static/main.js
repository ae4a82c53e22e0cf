// The page: one conversation at a time, and what can be done with it.

import {Refusal, ask, askJson, onKeyWanted, stream} from "./api.js";
import {Settings} from "./settings.js";
import {Speed} from "./speed.js";
import {Stages} from "./stages.js";
import {Story} from "./story.js";

const OPENINGS = ["Once upon a time", "It was a dark night, and", "The old man looked at the sea"];
const SETTLE = 200;         // looks at whether a text that was stopped has ended,
const PAUSE = 50;           // with as many milliseconds in between

const element = (id) => document.getElementById(id);

const settings = new Settings(element("fields"));
const speed = new Speed();
const stages = new Stages();
const story = new Story(element("text"), place);

let models = [];
let props = null;
let conversation = null;    // as the server shows it; null: none yet
let turns = [];             // of this visit: tokens before each, and before its answer
let running = null;         // ends the text that is being made
let busy = false;
let follows = true;         // whether the end of the text is in view, and stays there

const model = () => models.find((each) => each.id === element("model").value);

// What can be done.

/** Do something with nothing else at the same time; what goes wrong is shown as its sentence. */
async function act(action) {
  if (busy) return;
  busy = true;
  show();
  complain("");
  try {
    await action();
  } catch (error) {
    complain(error.message);
  } finally {
    busy = false;
    show();
  }
}

async function goOn(typed) {
  const {chat} = model();
  const text = spaced(typed);
  if (!text && (chat || !conversation?.tokens)) {
    throw new Error(chat ? "Say something first." : "Begin a text: there is nothing to go on from.");
  }
  conversation ??= await askJson("POST", "/v1/conversations", {model: model().id});
  const {tokens} = conversation;
  if (text) story.append(text, false);
  element("prompt").value = "";
  try {
    if (chat) await turn(tokens, "/v1/chat/completions", {messages: messages(text, tokens)});
    else await turn(tokens, "/v1/completions", {prompt: text});
  } catch (error) {
    element("prompt").value = typed;
    throw error;
  } finally {
    focusPrompt();
  }
}

/** Let the model go on, in a turn that began behind `begin` tokens; see where that leads. */
async function turn(begin, path, prompt) {
  const before = conversation.tokens;
  const request = {...settings.request, ...prompt, model: model().id,
                   conversation: conversation.id};
  running = new AbortController();
  show();
  element("stop").focus();
  try {
    await follow(path, request);
  } finally {
    running = null;
    announce("", true);
    describe();
    await settle();
    if (conversation.tokens > before) {
      turns.push({begin, answer: conversation.made.indexOf(true, before)});
    }
  }
}

/** Show what comes; a text that is stopped just ends. */
async function follow(path, request) {
  let begun = false;
  if (props.model !== request.model) {
    element("about").textContent = `${request.model} is loaded once the device is free.`;
  }
  try {
    const asked = {...request, stream: true, timings_per_token: true};
    for await (const event of stream(path, asked, running.signal)) {
      if (!begun) await measure();
      begun = true;
      const [choice] = event.choices;
      const piece = choice.text ?? choice.delta.content ?? "";
      if (piece) add(piece);
      if (event.timings) report(event.timings);
    }
  } catch (error) {
    if (error.name !== "AbortError") throw error;
  }
}

/** Begin to measure on the device as it is now: each model may have another build of it. */
async function measure() {
  if (props.model !== model().id) props = await askJson("GET", "/props");
  describe();
  speed.begin(props);
  stages.begin(props);
}

function add(piece) {
  story.append(piece, true);
  showEnd();
  announce(piece);
}

/** Keep the end of the text in view, unless somebody looks at what comes before it. */
function showEnd() {
  const text = element("text");
  if (follows) text.scrollTop = text.scrollHeight;
}

function report(timings) {
  speed.take(timings);
  stages.pass(speed.gap);
  element("digest").textContent = timings.digests[0] ?? "–";
  element("tokens").textContent = conversation.tokens + timings.tokens;
}

/** See where the conversation is once its text has ended. */
async function settle() {
  for (let look = 0; look < SETTLE; look++) {
    conversation = await askJson("GET", `/v1/conversations/${conversation.id}`);
    if (!conversation.busy) break;
    await new Promise((done) => setTimeout(done, PAUSE));
  }
  await shown();
}

async function open(id) {
  conversation = await askJson("GET", `/v1/conversations/${id}`);
  turns = [];
  element("model").value = conversation.model;
  describe();
  await shown();
}

async function begin() {
  conversation = null;
  turns = [];
  await shown();
  focusPrompt();
}

/** Go on in a copy that has the first `count` tokens. */
async function fork(count) {
  const entry = await askJson("POST", `/v1/conversations/${conversation.id}/fork`, {tokens: count});
  const left = turns.filter((turn) => turn.answer < count);
  await open(entry.id);
  turns = left;
}

async function rewind(count) {
  const {id} = conversation;
  await fork(count);
  await ask("DELETE", `/v1/conversations/${id}`);
  await list();
}

/** Make another answer in the place of the latest. */
async function again() {
  const {begin: start, answer} = latestTurn();
  await rewind(answer);
  settings.seed += 1;
  await turn(start, "/v1/completions", {prompt: ""});
}

async function save() {
  const response = await ask("GET", `/v1/conversations/${conversation.id}/state`);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = `${conversation.id}.state`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

async function load(file) {
  await open((await askJson("POST", "/v1/conversations", new Blob([file]))).id);
}

async function remove() {
  await ask("DELETE", `/v1/conversations/${conversation.id}`);
  await begin();
}

// What they need.

function messages(text, before) {
  const said = [{role: "user", content: text}];
  if (!before && settings.system) said.unshift({role: "system", content: settings.system});
  return said;
}

/** What was typed, as it follows the text: with a space between words. */
function spaced(typed) {
  const before = conversation?.text ?? "";
  const joins = !model().chat && typed && before && !/\s$/.test(before) && !/^\s/.test(typed);
  return joins ? ` ${typed}` : typed;
}

/** The turn before: of this visit, or else what the model made last, and what came before it. */
function latestTurn() {
  if (turns.length) return turns.at(-1);
  const {made} = conversation;
  let answer = made.length;
  while (answer && made[answer - 1]) answer--;
  let start = answer;
  while (start && !made[start - 1]) start--;
  return {begin: start, answer};
}

// What is seen.

async function shown() {
  const {pieces = [], made = [], tokens = 0, digest = null, id = ""} = conversation ?? {};
  story.show(pieces, made);
  follows = true;
  showEnd();
  element("digest").textContent = digest ?? "–";
  element("tokens").textContent = tokens;
  element("at").max = tokens;
  place(tokens);
  history.replaceState(null, "", id ? `#${id}` : location.pathname);
  show();
  await list();
}

/** Be ready for what is typed, but where that would bring up a keyboard over the text. */
function focusPrompt() {
  if (matchMedia("(pointer: fine)").matches) element("prompt").focus();
}

async function list() {
  const {data} = await askJson("GET", "/v1/conversations");
  element("list").replaceChildren(...data.filter((entry) => entry.tokens).map(item));
}

function item(entry) {
  const line = document.createElement("li");
  const button = document.createElement("button");
  const size = document.createElement("small");
  button.type = "button";
  button.textContent = entry.begins.trim() || "…";
  size.textContent = `${entry.tokens.toLocaleString("en")} tokens`
    + (models.length > 1 ? `, ${entry.model}` : "");
  button.append(size);
  if (entry.id === conversation?.id) button.setAttribute("aria-current", "true");
  button.addEventListener("click", () => act(() => open(entry.id)));
  line.append(button);
  return line;
}

/** Say of everything whether it can be used now. */
function show() {
  const tokens = conversation?.tokens ?? 0;
  const {chat} = model() ?? {};
  element("go").hidden = running !== null;
  element("stop").hidden = running === null;
  element("text").setAttribute("aria-busy", running !== null);
  for (const id of ["again", "undo", "save", "delete"]) element(id).disabled = busy || !tokens;
  for (const id of ["go", "new", "load", "model"]) element(id).disabled = busy || !models.length;
  element("place").hidden = busy || !tokens;
  element("openings").hidden = busy || tokens > 0 || chat !== false;
  for (const button of element("list").querySelectorAll("button")) button.disabled = busy;
}

function place(count) {
  if (busy && running) return;
  const tokens = conversation?.tokens ?? 0;
  const piece = conversation?.pieces?.[count - 1] ?? "";
  const words = `${count} of ${tokens} tokens${piece.trim() ? `, behind “${piece.trim()}”` : ""}`;
  element("at").value = count;
  element("at").setAttribute("aria-valuetext", words);
  element("where").textContent = words;
  element("rewind").disabled = count === tokens;
  story.mark(count);
}

function complain(sentence) {
  element("error").hidden = !sentence;
  element("error").textContent = sentence;
}

let unsaid = "";

/** Have a screen reader say what was made, a sentence at a time. */
function announce(piece, whole = false) {
  unsaid += piece;
  if (unsaid && (whole || /[.!?\n]["”’]?\s*$/.test(unsaid))) {
    element("announcer").textContent = unsaid;
    unsaid = "";
  }
}

function describe() {
  const {id, chat} = model();
  element("about").textContent = chat
    ? `${id} answers by its chat template.`
    : `${id} has no chat template: it does not answer, but goes on with the text that you begin. `
      + "The models that come with tritstream continue stories.";
  element("go").textContent = chat ? "Send" : "Go on";
  element("prompt-label").textContent = chat ? "What you say" : "What comes next";
  element("prompt").placeholder = chat
    ? "Say something" : "Begin a text, or add to it; with nothing here it goes on by itself";
  settings.allow(props.candidates, chat);
}

function wantKey(sentence) {
  const dialog = element("key-dialog");
  element("key-error").textContent = sentence;
  element("key").value = "";
  dialog.showModal();
  return new Promise((given, refused) => {
    element("key-form").onsubmit = (event) => {
      event.preventDefault();
      dialog.onclose = null;
      dialog.close();
      given(element("key").value);
    };
    dialog.onclose = () => refused(new Refusal(401, "Without its key this server tells nothing: "
      + "reload the page to be asked again."));
  });
}

// What is wired to what.

function listen() {
  const does = {
    new: begin, again, save, undo: () => rewind(latestTurn().begin),
    rewind: () => rewind(Number(element("at").value)),
    fork: () => fork(Number(element("at").value)),
  };
  for (const [id, action] of Object.entries(does)) {
    element(id).addEventListener("click", () => act(action));
  }
  element("delete").addEventListener("click", () => {
    if (confirm("Delete this conversation?")) act(remove);
  });
  element("composer").addEventListener("submit", (event) => {
    event.preventDefault();
    act(() => goOn(element("prompt").value));
  });
  element("prompt").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    element("composer").requestSubmit();
  });
  element("stop").addEventListener("click", () => running?.abort());
  const text = element("text");
  text.addEventListener("scroll", () => {
    follows = text.scrollHeight - text.scrollTop - text.clientHeight < 40;
  });
  new ResizeObserver(showEnd).observe(text);       // a keyboard comes, or a phone is turned
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") running?.abort();
  });
  element("at").addEventListener("input", () => place(Number(element("at").value)));
  element("load").addEventListener("click", () => element("file").click());
  element("file").addEventListener("change", () => {
    const [file] = element("file").files;
    element("file").value = "";
    if (file) act(() => load(file));
  });
  element("model").addEventListener("change", () => act(async () => {
    describe();
    await begin();
  }));
  addEventListener("hashchange", () => {
    if (location.hash.slice(1) !== conversation?.id) act(() => open(location.hash.slice(1)));
  });
  for (const button of document.querySelectorAll(".panels button")) {
    button.addEventListener("click", () => unfold(button));
  }
}

/** Show one of the panels, for which a phone has no room beside the text; or none again. */
function unfold(button) {
  for (const each of document.querySelectorAll(".panels button")) {
    const open = each === button && each.getAttribute("aria-expanded") === "false";
    each.setAttribute("aria-expanded", open);
    element(each.getAttribute("aria-controls")).classList.toggle("unfolded", open);
  }
}

function offer(opening) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = opening;
  button.addEventListener("click", () => act(() => goOn(opening)));
  return button;
}

async function start() {
  const {data} = await askJson("GET", "/v1/models");
  props = await askJson("GET", "/props");
  models = data;
  element("model").replaceChildren(...models.map(({id}) => new Option(id, id)));
  element("model").value = props.model;
  element("device").textContent = props.device;
  describe();
  speed.begin(props);
  stages.begin(props);
  element("openings").replaceChildren(...OPENINGS.map(offer));
  await (location.hash.length > 1 ? open(location.hash.slice(1)) : begin());
}

onKeyWanted(wantKey);
listen();
act(start);
