// Cycles of a token by stage: the tape as it is played, slowed down to what an eye can follow.

import {Refusal, askJson} from "./api.js";
import {milliseconds, rectangle} from "./speed.js";

const PERIOD = 1000;        // milliseconds from question to question, each a read of the device
const SLOWEST = 600;        // milliseconds of a pass as it is shown
const HEIGHT = 40;
const still = matchMedia("(prefers-reduced-motion: reduce)");

const element = (id) => document.getElementById(id);

export class Stages {
  constructor() {
    this._asked = -Infinity;
    this._total = 0;
    this._wait = false;
    this._frame = 0;
  }

  /** Begin a text; `props` is what the server says of its device. */
  begin(props) {
    this._clocked = props.clock_hz !== null;
    element("tape").toggleAttribute("hidden", !this._clocked || !this._total);
    element("stages-table").hidden = !this._clocked || !this._total;
    if (!this._clocked) {
      element("stages-caption").textContent =
        `${props.device} computes on this server's processor: it has no cycles by stage.`;
    }
  }

  /** A token was made; the one before it came `gap` seconds earlier. */
  pass(gap) {
    if (!this._clocked) return;
    this._ask();
    if (this._total && !still.matches) this._sweep(Math.min(1000 * gap, SLOWEST) || SLOWEST);
  }

  async _ask() {
    const now = performance.now();
    if (this._wait || now - this._asked < PERIOD) return;
    this._wait = true;
    this._asked = now;
    try {
      this._draw(await askJson("GET", "/stages"));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      element("stages-caption").textContent = error.message;
    } finally {
      this._wait = false;
    }
  }

  _draw({stages, clock_hz: clockHz, evidence}) {
    const svg = element("tape");
    this._total = stages.reduce((sum, stage) => sum + stage.cycles, 0);
    if (!this._total) return;
    svg.setAttribute("viewBox", `0 0 ${this._total} ${HEIGHT}`);
    const shapes = [];
    let x = 0;
    for (const stage of stages) {
      const waits = HEIGHT * stage.stalls / Math.max(stage.cycles, 1);
      shapes.push(rectangle(x, 0, stage.cycles, HEIGHT, `kind-${stage.kind}`),
                  rectangle(x, HEIGHT - waits, stage.cycles, waits, "waits"));
      x += stage.cycles;
    }
    this._head = rectangle(-this._total, 0, this._total / 60, HEIGHT, "head");
    svg.replaceChildren(...shapes, this._head);
    this._tabulate(stages);
    svg.removeAttribute("hidden");
    element("stages-table").hidden = false;
    element("stages-caption").textContent =
      `One token, slowed down: ${this._total.toLocaleString("en")} cycles, `
      + `${milliseconds(this._total / clockHz)} at ${clockHz / 1e6} MHz (${evidence}). Dark: waiting for weights.`;
  }

  _tabulate(stages) {
    const sums = new Map();
    for (const stage of stages) {
      const sum = sums.get(stage.kind) ?? {does: stage.does, cycles: 0, stalls: 0};
      sum.cycles += stage.cycles;
      sum.stalls += stage.stalls;
      sums.set(stage.kind, sum);
    }
    const rows = [...sums].map(([kind, sum]) => row(kind, sum, this._total));
    element("stages-table").tBodies[0].replaceChildren(...rows);
  }

  /** Move the head of the player over the tape once. */
  _sweep(duration) {
    cancelAnimationFrame(this._frame);
    const began = performance.now();
    const step = (now) => {
      const part = (now - began) / duration;
      this._head.setAttribute("x", part < 1 ? part * this._total : -this._total);
      if (part < 1) this._frame = requestAnimationFrame(step);
    };
    this._frame = requestAnimationFrame(step);
  }
}

function row(kind, sum, total) {
  const line = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.className = `kind-${kind}`;
  name.textContent = sum.does;
  line.append(name, ...[sum.cycles.toLocaleString("en"),
                        `${(100 * sum.cycles / total).toFixed(1)} %`,
                        sum.stalls.toLocaleString("en")].map(cell));
  return line;
}

function cell(text) {
  const data = document.createElement("td");
  data.textContent = text;
  return data;
}
