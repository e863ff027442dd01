// The notebook's side of DrawingPad in drawing_pad.py; drawing.js stands before it in the same module.

export default {
  render({ model, el }) {
    const root = el.appendChild(document.createElement("div"));
    let sent = null;
    const pad = buildPad(root, (strokes) => {
      sent = strokes;
      model.set("strokes", strokes);
      model.set("stored", false);
      model.save_changes();
    });
    const show = () => {
      const pixels = model.get("pixels");
      pad.show(model.get("predictions"), new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength));
    };
    const takeStrokes = () => {
      if (model.get("strokes") !== sent) pad.setStrokes(model.get("strokes"), model.get("stored")); // else it is our own, come back
    };
    model.on("change:strokes", takeStrokes);
    model.on("change:predictions change:pixels", show);
    takeStrokes();
    show();
    return () => {
      model.off("change:strokes", takeStrokes);
      model.off("change:predictions change:pixels", show);
    };
  },
};
