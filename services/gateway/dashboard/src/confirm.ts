/** Ask before something is done that others will notice. */

import { explain } from "./api";
import { h } from "./dom";

export function confirm(
  title: string,
  text: string,
  verb: string,
  act: (reason: string) => Promise<void>,
): void {
  const reason = h("input", { id: "reason", maxlength: 1000, autocomplete: "off" });
  const trouble = h("p", { class: "trouble", role: "alert", hidden: true });
  const go = h("button", { type: "submit" }, verb);
  const dialog = h("dialog", { "aria-labelledby": "confirm-title" });
  const send = async (event: Event): Promise<void> => {
    event.preventDefault();
    go.disabled = true;
    try {
      await act(reason.value);
      dialog.close();
    } catch (error) {
      trouble.textContent = explain(error);
      trouble.hidden = false;
      go.disabled = false;
    }
  };
  dialog.append(
    h(
      "form",
      { class: "stack", submit: (event) => void send(event) },
      h("h2", { id: "confirm-title" }, title),
      h("p", {}, text),
      h("label", { for: "reason" }, "Reason, kept with the experiment"),
      reason,
      trouble,
      h(
        "p",
        { class: "actions" },
        h("button", { type: "button", class: "ghost", click: () => dialog.close() }, "Back"),
        go,
      ),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
