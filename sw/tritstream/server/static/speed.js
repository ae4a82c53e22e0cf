// How fast the tokens come, by the device's clock and by the server's, each with its evidence.

const WINDOW = 16;          // tokens over which a rate is taken
const BARS = 100;           // gaps between tokens that are shown
const HEIGHT = 30;

const element = (id) => document.getElementById(id);

export class Speed {
  /** Begin a text; `props` is what the server says of its device. */
  begin(props) {
    this._props = props;
    this._seen = [];        // timings behind the latest tokens
    this._gaps = [];
    for (const id of ["device-clock", "cycles-row", "stalls-row"]) {
      element(id).hidden = props.clock_hz === null;
    }
    element("wall-evidence").textContent = "";
    element("device-evidence").textContent = props.clock_hz === null ? "" : props.evidence;
    for (const id of ["device-rate", "wall-rate", "cycles", "stalls"]) {
      element(id).textContent = "–";
    }
    this._drawGaps();
  }

  /** Take the timings that came with a piece. */
  take(timings) {
    const before = this._seen.at(-1);
    if (before && timings.tokens === before.tokens) return;
    if (before) {
      const tokens = timings.tokens - before.tokens;
      this._gaps.push((clock(timings).seconds - clock(before).seconds) / tokens);
      if (this._gaps.length > BARS) this._gaps.shift();
    }
    this._seen.push(timings);
    if (this._seen.length > WINDOW + 1) this._seen.shift();
    this._write();
    this._drawGaps();
  }

  /** Seconds from the token before to the latest one, by the server's clock. */
  get gap() {
    const [before, last] = this._seen.slice(-2);
    return last ? last.seconds - before.seconds : 0;
  }

  _write() {
    const first = this._seen[0];
    const last = this._seen.at(-1);
    const tokens = last.tokens - first.tokens;
    element("wall-evidence").textContent = last.evidence;
    element("wall-rate").textContent = rate(tokens, last.seconds - first.seconds);
    if (!last.device_clock) return;
    const [begin, end] = [first.device_clock, last.device_clock];
    element("device-evidence").textContent = end.evidence;
    element("device-rate").textContent = rate(tokens, end.seconds - begin.seconds);
    const cycles = end.cycles - begin.cycles;
    if (!tokens || !cycles) return;
    element("cycles").textContent = Math.round(cycles / tokens).toLocaleString("en");
    const share = (end.stalls - begin.stalls) / cycles;
    element("stalls").textContent = `${(100 * share).toFixed(1)} %`;
  }

  _drawGaps() {
    const svg = element("gaps");
    const most = Math.max(...this._gaps, 1e-9);
    svg.replaceChildren(...this._gaps.map((gap, index) => rectangle(
      BARS - this._gaps.length + index + 0.1, HEIGHT * (1 - gap / most), 0.8,
      HEIGHT * gap / most)));
    const whose = this._props.clock_hz === null ? "this server's" : "the device's";
    element("gaps-caption").textContent = this._gaps.length
      ? `Time from token to token by ${whose} clock, at most ${milliseconds(most)}.`
      : "Time from token to token.";
  }
}

export function rectangle(x, y, width, height, kind = "") {
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  for (const [name, value] of Object.entries({x, y, width, height, class: kind})) {
    shape.setAttribute(name, value);
  }
  return shape;
}

function clock(timings) {
  return timings.device_clock ?? timings;
}

function rate(tokens, seconds) {
  if (!tokens || seconds <= 0) return "–";
  const value = tokens / seconds;
  return value >= 1000 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

export function milliseconds(seconds) {
  return `${(1000 * seconds).toPrecision(3)} ms`;
}
