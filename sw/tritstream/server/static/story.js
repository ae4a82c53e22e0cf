// The text of a conversation, token by token. Everything becomes text nodes, whatever it is.

const MOST = 4000;          // tokens that are elements of their own; those before them are one

export class Story {
  /** `chosen(count)` is called when a token is clicked: the text up to it has `count` tokens. */
  constructor(element, chosen) {
    this._element = element;
    this._first = 0;        // tokens before the first that is an element
    this._tokens = [];
    element.addEventListener("click", (event) => {
      const index = this._tokens.indexOf(event.target);
      if (index >= 0 && getSelection().isCollapsed) chosen(this._first + index + 1);
    });
  }

  /** Show a whole text: for each token its piece, and whether the model made it. */
  show(pieces, made) {
    this._first = Math.max(0, pieces.length - MOST);
    this._element.replaceChildren();
    if (this._first) this._add(pieces.slice(0, this._first).join(""), "earlier");
    this._tokens = [];
    for (let index = this._first; index < pieces.length; index++) {
      this.append(pieces[index], made[index]);
    }
  }

  append(piece, made) {
    this._tokens.push(this._add(piece, made ? "made" : "yours"));
  }

  /** Mark what comes behind the first `count` tokens as what would be taken back. */
  mark(count) {
    this._tokens.forEach((token, index) => {
      token.classList.toggle("behind", this._first + index >= count);
    });
  }

  _add(text, kind) {
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = text;
    this._element.append(span);
    return span;
  }
}
