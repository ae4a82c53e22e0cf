// All that can be said about the choice of tokens; this browser keeps it.

const FIELDS = [
  {name: "max_tokens", label: "Tokens", value: 128, min: 1, max: 1000000, step: 1},
  {name: "temperature", label: "Temperature", value: 0.7, min: 0, step: "any"},
  {name: "top_k", label: "Top-k", value: 16, min: 1, step: 1},
  {name: "top_p", label: "Top-p", value: 1, min: 0, max: 1, step: "any"},
  {name: "min_p", label: "Min-p", value: 0, min: 0, max: 1, step: "any"},
  {name: "repetition_penalty", label: "Repetition penalty", value: 1, min: 0, step: "any"},
  {name: "presence_penalty", label: "Presence penalty", value: 0, min: -2, max: 2, step: "any"},
  {name: "frequency_penalty", label: "Frequency penalty", value: 0, min: -2, max: 2, step: "any"},
  {name: "seed", label: "Seed", value: 0, step: 1},
  {name: "stop", label: "Stop texts, one a line", value: "", lines: true},
  {name: "logit_bias", label: "Biases, as 17:-100, 42:1.5", value: "", text: true},
  {name: "system", label: "What the model is told first", value: "", lines: true, chat: true},
];

export class Settings {
  constructor(form) {
    const kept = JSON.parse(localStorage.getItem("settings") ?? "{}");
    this._inputs = new Map();
    this._labels = new Map();
    for (const field of FIELDS) {
      const label = document.createElement("label");
      const input = document.createElement(field.lines ? "textarea" : "input");
      label.append(field.label, input);
      input.name = field.name;
      if (field.lines) input.rows = 2;
      else input.type = field.text ? "text" : "number";
      for (const name of ["min", "max", "step"]) {
        if (name in field) input[name] = field[name];
      }
      input.value = kept[field.name] ?? field.value;
      this._inputs.set(field.name, input);
      this._labels.set(field, label);
      form.append(label);
    }
    const reset = document.createElement("button");
    reset.type = "button";
    reset.textContent = "As they were";
    reset.addEventListener("click", () => this._reset());
    form.append(reset);
    form.addEventListener("input", () => this._keep());
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  /** Say what the model and its device allow. */
  allow(candidates, chat) {
    this._inputs.get("top_k").max = candidates;
    for (const [field, label] of this._labels) label.hidden = Boolean(field.chat) && !chat;
  }

  /** What the model is told first. */
  get system() {
    return this._inputs.get("system").value;
  }

  set seed(value) {
    this._inputs.get("seed").value = value;
    this._keep();
  }

  get seed() {
    return Number(this._inputs.get("seed").value);
  }

  /** The settings as a part of a request; throws a sentence where one is no number. */
  get request() {
    const table = {};
    for (const field of FIELDS) {
      const input = this._inputs.get(field.name);
      if (field.text || field.lines) continue;
      if (input.value === "") throw new Error(`${field.label} needs a number.`);
      table[field.name] = Number(input.value);
    }
    const stop = this._inputs.get("stop").value.split("\n").filter((line) => line !== "");
    if (stop.length) table.stop = stop;
    const biases = this._biases();
    if (biases) table.logit_bias = biases;
    return table;
  }

  _biases() {
    const text = this._inputs.get("logit_bias").value.trim();
    if (!text) return null;
    const pairs = text.split(/[\s,]+/).filter(Boolean).map((pair) => pair.split(":"));
    if (!pairs.every((pair) => pair.length === 2 && pair[1] !== "" && isFinite(pair[1]))) {
      throw new Error("Biases are tokens and numbers, as in 17:-100, 42:1.5.");
    }
    return Object.fromEntries(pairs.map(([token, bias]) => [token, Number(bias)]));
  }

  _reset() {
    for (const field of FIELDS) this._inputs.get(field.name).value = field.value;
    this._keep();
  }

  _keep() {
    const table = {};
    for (const [name, input] of this._inputs) table[name] = input.value;
    localStorage.setItem("settings", JSON.stringify(table));
  }
}
