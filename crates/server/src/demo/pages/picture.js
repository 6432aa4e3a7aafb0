// The live picture: the last seconds of what the customer's phone sent and what the agent's ear got, on one time axis.

/**
 * @typedef {import("./keypad.js").Press} Press
 * @typedef {{ fromMs: number, sent: number[], heard: number[] }} Piece lowest and highest sample per column, in pairs
 * @typedef {{ number: number, heard: boolean, residue_dbm0: number }} Judgement
 * @typedef {{ press: Press, verdict: Judgement | null }} Mark
 */

const SHOWN_MS = 12_000;
const COLUMN_MS = 20;
/** A column's loudest value. */
const FULL_SCALE = 128;
/** Loudness of speech as drawn: quiet parts are made visible. */
const ZOOM = 1.55;
/** Height of the strip above the waveform, for the names of the keys. */
const STRIP = 13;

export class Picture {
  /**
   * @param {HTMLCanvasElement} sent
   * @param {HTMLCanvasElement} heard
   */
  constructor(sent, heard) {
    this.sent = new Lane(sent, "--sent");
    this.heard = new Lane(heard, "--heard");
    /** @type {Map<number, Mark>} */
    this.marks = new Map();
    this.endMs = 0;
    this.endedAt = 0;
    this.still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (this.still) setInterval(() => this.draw(this.endMs), 1000);
    else requestAnimationFrame((now) => this.animate(now));
  }

  clear() {
    this.sent.columns.length = 0;
    this.heard.columns.length = 0;
    this.marks.clear();
  }

  /** @param {Piece} piece */
  add(piece) {
    this.sent.add(piece.fromMs, piece.sent);
    this.heard.add(piece.fromMs, piece.heard);
    this.endMs = piece.fromMs + (piece.sent.length / 2) * COLUMN_MS;
    this.endedAt = performance.now();
    for (const [number, mark] of this.marks) {
      if (mark.press.at_ms < this.endMs - SHOWN_MS - 1000) this.marks.delete(number);
    }
  }

  /** @param {Press} press */
  press(press) {
    this.marks.set(press.number, { press, verdict: null });
  }

  /** @param {Judgement} verdict */
  judge(verdict) {
    const mark = this.marks.get(verdict.number);
    if (mark) mark.verdict = verdict;
  }

  /** Pieces come ten times a second; between them time goes on.
   * @param {number} now */
  animate(now) {
    this.draw(this.endMs + Math.min(now - this.endedAt, 150));
    requestAnimationFrame((next) => this.animate(next));
  }

  /** @param {number} edgeMs time at the right edge */
  draw(edgeMs) {
    const fromMs = edgeMs - SHOWN_MS;
    const marks = [...this.marks.values()];
    this.sent.draw(fromMs, (pen, x) => {
      for (const { press } of marks) pen.key(x(press.at_ms), x(press.at_ms + press.length_ms), press.key);
    });
    this.heard.draw(fromMs, (pen, x) => {
      for (const { press, verdict } of marks) {
        if (!verdict) continue;
        const span = /** @type {[number, number]} */ ([x(press.at_ms), x(press.at_ms + press.length_ms)]);
        if (verdict.heard) pen.leak(...span);
        else pen.gone(...span);
      }
    });
  }
}

/** One waveform. */
class Lane {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {string} colour the name of a custom property of the style sheet
   */
  constructor(canvas, colour) {
    this.canvas = canvas;
    this.colour = colour;
    /** @type {{ atMs: number, low: number, high: number }[]} */
    this.columns = [];
  }

  /**
   * @param {number} fromMs
   * @param {number[]} pairs
   */
  add(fromMs, pairs) {
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      this.columns.push({ atMs: fromMs + (i / 2) * COLUMN_MS, low: pairs[i], high: pairs[i + 1] });
    }
    const surplus = this.columns.length - SHOWN_MS / COLUMN_MS - 20;
    if (surplus > 0) this.columns.splice(0, surplus);
  }

  /**
   * @param {number} fromMs
   * @param {(pen: Pen, x: (ms: number) => number) => void} marks draws what lies behind the waveform
   */
  draw(fromMs, marks) {
    const { width, height } = this.fit();
    const context = this.canvas.getContext("2d");
    if (!context) return;
    const style = getComputedStyle(this.canvas);
    /** @param {number} ms */
    const x = (ms) => ((ms - fromMs) / SHOWN_MS) * width;
    context.clearRect(0, 0, width, height);
    this.grid(context, style, fromMs, x, height);
    marks(new Pen(context, style, height), x);
    context.fillStyle = style.getPropertyValue(this.colour);
    const middle = STRIP + (height - STRIP) / 2;
    const scale = ((middle - STRIP) / FULL_SCALE) * ZOOM;
    const columnWidth = Math.max(1, width / (SHOWN_MS / COLUMN_MS) - 0.3);
    for (const column of this.columns) {
      const top = Math.max(STRIP, middle - column.high * scale);
      const bottom = Math.min(height - 1, middle - column.low * scale);
      context.fillRect(x(column.atMs), top, columnWidth, Math.max(1, bottom - top));
    }
  }

  /** A thin line for every second.
   * @param {CanvasRenderingContext2D} context
   * @param {CSSStyleDeclaration} style
   * @param {number} fromMs
   * @param {(ms: number) => number} x
   * @param {number} height */
  grid(context, style, fromMs, x, height) {
    context.fillStyle = style.getPropertyValue("--line");
    for (let ms = Math.ceil(fromMs / 1000) * 1000; ms < fromMs + SHOWN_MS; ms += 1000) {
      context.fillRect(Math.round(x(ms)), height - 5, 1, 5);
    }
  }

  /** Makes the canvas as sharp as the screen. */
  fit() {
    const ratio = devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
      this.canvas.getContext("2d")?.setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    return { width, height };
  }
}

/** Draws the marks of key presses. */
class Pen {
  /**
   * @param {CanvasRenderingContext2D} context
   * @param {CSSStyleDeclaration} style
   * @param {number} height
   */
  constructor(context, style, height) {
    this.context = context;
    this.style = style;
    this.height = height;
  }

  /** @param {string} name */
  colour(name) {
    return this.style.getPropertyValue(name);
  }

  /** A key that was pressed, with its name.
   * @param {number} from
   * @param {number} to
   * @param {string} key */
  key(from, to, key) {
    const { context, height } = this;
    context.fillStyle = this.colour("--key");
    context.fillRect(from - 1, 0, to - from + 2, height);
    context.fillStyle = this.colour("--sent");
    context.font = "600 10px system-ui, sans-serif";
    context.textAlign = "center";
    context.fillText(key, (from + to) / 2, STRIP - 3);
  }

  /** Hatching: something was here and was taken out.
   * @param {number} from
   * @param {number} to */
  gone(from, to) {
    const { context, height } = this;
    context.save();
    context.beginPath();
    context.rect(from - 1, 0, to - from + 2, height);
    context.clip();
    context.strokeStyle = this.colour("--gone");
    context.lineWidth = 1;
    context.beginPath();
    for (let y = -12; y < height + 12; y += 5) {
      context.moveTo(from - 2, y + 8);
      context.lineTo(to + 2, y);
    }
    context.stroke();
    context.restore();
  }

  /** A key the agent could hear.
   * @param {number} from
   * @param {number} to */
  leak(from, to) {
    const { context, height } = this;
    context.fillStyle = "#f6d5cf";
    context.fillRect(from - 1, 0, to - from + 2, height);
    context.fillStyle = this.colour("--leak");
    context.fillRect(from - 1, 0, to - from + 2, 3);
  }
}
