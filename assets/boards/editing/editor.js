/** Placeholder of the editor. */
export class Editor {
  /** @param {any} board @param {any} about */
  constructor(board, about) {
    Object.assign(this, { board, about, element: document.createElement("div") });
  }
}
