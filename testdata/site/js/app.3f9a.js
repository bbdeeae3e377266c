// Draws the hit ratio of each place over the day from /data/traffic.json.
"use strict";

(async function () {
  const chart = document.getElementById("chart");
  if (!chart) return;

  const width = 880, height = 220, left = 36, bottom = 22;
  const svg = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  try {
    const response = await fetch("/data/traffic.json");
    if (!response.ok) throw new Error(response.status);
    const { places } = await response.json();

    const x = (minute) => left + (minute / 1440) * (width - left);
    const y = (ratio) => (1 - (ratio - 0.5) * 2) * (height - bottom - 8) + 8;
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}` });
    for (const ratio of [0.5, 0.75, 1]) {
      picture.append(svg("line", { x1: left, x2: width, y1: y(ratio), y2: y(ratio) }));
      picture.append(svg("text", { x: 0, y: y(ratio) + 4 }, `${ratio * 100} %`));
    }
    for (let hour = 0; hour < 24; hour += 4) {
      picture.append(svg("text", { x: x(hour * 60), y: height - 4 }, `${String(hour).padStart(2, "0")}:00`));
    }
    for (const place of places) {
      const points = place.samples.map((s) => `${x(s.minute).toFixed(1)},${y(s.hits / (s.hits + s.misses)).toFixed(1)}`);
      const line = svg("path", { d: "M" + points.join("L") });
      line.append(svg("title", {}, place.name));
      picture.append(line);
    }
    chart.replaceChildren(picture);
  } catch (error) {
    chart.textContent = `The numbers could not be loaded (${error.message}).`;
  }
})();
