// The page: what a person asks of the drawing. Every name from outside becomes text, never markup.
"use strict";

(() => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const graph = routing.graphOf(facts);
  const byId = (id) => document.getElementById(id);
  const svg = byId("drawing");
  const paper = byId("paper");

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  const code = (text) => element("code", {}, text === "" ? "(empty)" : text);
  const say = (text) => { byId("said").textContent = text; };
  const numbers = (text) => (text ? text.split(" ").map(Number) : []);
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  // --- what is drawn: boxes, lines between them, and the edges of the graph that each stands for ---

  const boxes = [...svg.querySelectorAll("g[data-node]")].map((group, at) => ({
    at,
    group,
    node: Number(group.dataset.node),
    isNode: !group.matches(".bindings, .waits"),
    rows: [...group.querySelectorAll("[data-edges]")].map((row) => ({ row, edges: numbers(row.dataset.edges) })),
    label: group.querySelector("title").textContent.split("\n").join(", "),
    lines: [],
  }));
  const boxOfNode = new Map(boxes.filter((box) => box.isNode).map((box) => [box.node, box]));
  const lines = [...svg.querySelectorAll("path.line")].map((path) => ({
    path,
    from: boxes[Number(path.dataset.from)],
    to: boxes[Number(path.dataset.to)],
    edges: numbers(path.dataset.edges),
  }));
  for (const line of lines) {
    line.from.lines.push(line);
    line.to.lines.push(line);
  }

  // Something is lit: boxes, lines and rows. The rest is faint. `null` lights nothing and nothing is faint.
  let lit = [];
  function light(shown) {
    for (const each of lit) each.classList.remove("lit");
    lit = shown ?? [];
    for (const each of lit) each.classList.add("lit");
    svg.classList.toggle("dim", shown !== null);
  }

  // What is beside a box; bindings are passed, as they only stand between two others.
  function around(box) {
    const shown = [box.group];
    for (const line of box.lines) {
      const other = line.from === box ? line.to : line.from;
      shown.push(line.path, other.group);
      if (box.isNode && other.group.matches(".bindings")) {
        for (const onward of other.lines) shown.push(onward.path, onward.from.group, onward.to.group);
      }
    }
    return shown;
  }

  function lightEdges(edges, nodes) {
    const shown = [];
    for (const box of boxes) {
      const rows = box.rows.filter((each) => each.edges.some((edge) => edges.has(edge)));
      shown.push(...rows.map((each) => each.row));
      if ((box.isNode && nodes.has(box.node)) || (!box.isNode && rows.length)) shown.push(box.group);
    }
    shown.push(...lines.filter((line) => line.edges.some((edge) => edges.has(edge))).map((line) => line.path));
    light(shown);
  }

  // What is lit when nothing is pointed at.
  let settled = () => light(null);

  function settle(how) {
    settled = how;
    how();
  }

  // --- one box that is chosen, and the way from box to box by keys ---

  let chosen = null;
  let current = boxes[0] ?? null;

  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  function show(box, motion = calm.matches ? "auto" : "smooth") {
    const place = box.group.getBoundingClientRect();
    const frame = paper.getBoundingClientRect();
    paper.scrollBy({
      left: place.left - frame.left - (frame.width - place.width) / 2,
      top: place.top - frame.top - (frame.height - place.height) / 2,
      behavior: motion,
    });
  }

  function choose(box) {
    chosen?.group.setAttribute("aria-pressed", "false");
    chosen = box;
    byId("chosen").hidden = box === null;
    if (box === null) {
      settle(() => light(null));
      return;
    }
    box.group.setAttribute("aria-pressed", "true");
    moveTo(box);
    settle(() => light(around(box)));
    const node = facts.nodes[box.node];
    byId("chosen-title").textContent = `${node.kind} ${node.name}`;
    byId("about").replaceChildren(...about(box));
    show(box);
  }

  function moveTo(box) {
    current?.group.setAttribute("tabindex", "-1");
    current = box;
    box.group.setAttribute("tabindex", "0");
  }

  function link(node, text) {
    const made = element("button", { type: "button", class: "link" }, text ?? `${facts.nodes[node].kind} ${facts.nodes[node].name}`);
    made.addEventListener("click", () => {
      choose(boxOfNode.get(node));
      boxOfNode.get(node).group.focus({ preventScroll: true });
    });
    return made;
  }

  function* about(box) {
    const lines = box.label.split(", ").slice(1);
    if (lines.length) yield element("p", { class: "hint" }, lines.join(", "));
    for (const finding of facts.findings.filter((each) => each.node === box.node)) {
      yield element("p", { class: finding.severity }, element("strong", {}, finding.severity), ` ${finding.message}`);
    }
    for (const [heading, near, far] of [["Comes from", "to", "from"], ["Goes to", "from", "to"]]) {
      const edges = facts.edges.filter((edge) => edge[near] === box.node);
      if (!edges.length) continue;
      yield element("h3", {}, heading);
      const items = edges.map((edge) =>
        element("li", {}, link(edge[far]), edge.label ? element("span", {}, " ", code(edge.label)) : null),
      );
      yield element("ul", { class: "links" }, ...items);
    }
  }

  let columns = null;

  // The boxes above and below one another, measured when they are first asked for.
  function columnOf(box) {
    if (columns === null) {
      columns = new Map();
      for (const each of boxes) {
        const { x, y } = each.group.querySelector(".shape").getBBox();
        each.x = Math.round(x);
        each.y = y;
        if (!columns.has(each.x)) columns.set(each.x, []);
        columns.get(each.x).push(each);
      }
      for (const column of columns.values()) column.sort((one, other) => one.y - other.y);
    }
    return columns.get(box.x ?? 0);
  }

  function nextBox(box, key) {
    const column = columnOf(box) ?? columnOf(boxes[0]);
    const beside = (end, other) => box.lines.filter((line) => line[end] === box).map((line) => line[other]);
    const nearest = (found) =>
      found.sort((one, other) => Math.abs(one.y - box.y) - Math.abs(other.y - box.y))[0];
    const at = column.indexOf(box);
    const moves = {
      ArrowUp: () => column[at - 1],
      ArrowDown: () => column[at + 1],
      ArrowRight: () => nearest(beside("from", "to")),
      ArrowLeft: () => nearest(beside("to", "from")),
      Home: () => boxes[0],
      End: () => boxes[boxes.length - 1],
    };
    return moves[key]?.();
  }

  for (const box of boxes) {
    box.group.classList.add("box");
    for (const [name, value] of [["role", "button"], ["tabindex", "-1"], ["aria-pressed", "false"], ["aria-label", box.label]]) {
      box.group.setAttribute(name, value);
    }
    box.group.addEventListener("pointerenter", () => light(around(box)));
    box.group.addEventListener("pointerleave", () => settled());
    box.group.addEventListener("focus", () => { moveTo(box); light(around(box)); });
    box.group.addEventListener("blur", () => settled());
    box.group.addEventListener("click", () => choose(box));
  }
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-labelledby", "paper-title");
  svg.setAttribute("aria-describedby", "paper-hint");
  current?.group.setAttribute("tabindex", "0");

  svg.addEventListener("keydown", (event) => {
    const box = boxes.find((each) => each.group === event.target);
    if (!box || event.altKey || event.ctrlKey || event.metaKey) return;
    const next = nextBox(box, event.key);
    if (next) {
      next.group.focus({ preventScroll: true });
      show(next);
    } else if (event.key === "Enter" || event.key === " ") {
      choose(box);
      say(`${byId("chosen-title").textContent} is chosen; more about it stands beside the drawing`);
    } else if (!event.key.startsWith("Arrow")) {
      return;
    }
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") clear();
  });

  // --- where a message goes ---

  const select = byId("exchange");
  for (const { name, type, internal } of facts.exchanges) {
    const option = element("option", { value: name }, `${name} (${type}${internal ? ", internal" : ""})`);
    option.disabled = internal;
    select.append(option);
  }
  select.append(element("option", { value: "" }, "the default exchange"));
  select.selectedIndex = Math.max(0, [...select.options].findIndex((option) => !option.disabled));

  function hintOf() {
    const type = graph.exchanges.get(select.value)?.type;
    if (byId("key").value.split(".").some((word) => word === "*" || word === "#")) {
      return "In a routing key * and # are no wildcards.";
    }
    if (type === "headers") return "A headers exchange looks at headers, not at the key.";
    return type === "fanout" ? "A fanout exchange takes every key." : "";
  }

  function hint() {
    byId("key-hint").textContent = hintOf();
    if (graph.exchanges.get(select.value)?.type === "headers") byId("more").open = true;
  }

  function ask() {
    try {
      const text = byId("headers").value.trim();
      return routing.explain(graph, {
        exchange: select.value,
        key: byId("key").value,
        headers: text ? routing.parseHeaders(text) : new Map(),
      });
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof RangeError)) throw error;
      return { problem: error instanceof SyntaxError ? `The headers are no JSON object: ${error.message}` : error.message };
    }
  }

  function answer() {
    const way = ask();
    if (way.problem) {
      choose(null);
      byId("answer").replaceChildren(element("p", { class: "none" }, way.problem));
      say(way.problem);
      return;
    }
    choose(null);
    byId("answer").replaceChildren(...told(way));
    const [edges, nodes] = taken(way);
    settle(() => lightEdges(edges, nodes));
    const first = boxOfNode.get(way.arrivals.find((each) => each.handler)?.handler.node ?? way.arrivals[0]?.queue.node);
    if (first) show(first);
    say(summed(way));
  }

  // The edges and nodes of a way.
  function taken(way) {
    const edges = new Set();
    const nodes = new Set();
    const nodeOf = (kind, name) => (kind === "queue" ? graph.queues : graph.exchanges).get(name)?.node;
    const edgeOf = (kind, from, to) => facts.edges.findIndex((edge) => edge.kind === kind && edge.from === from && edge.to === to);
    const start = way.exchange === "" ? facts.nodes.findIndex((node) => node.detail === "default") : nodeOf("exchange", way.exchange);
    nodes.add(start);
    for (const hop of way.hops) {
      const target = nodeOf(hop.kind, hop.to);
      nodes.add(target);
      if (hop.binding) edges.add(hop.binding.edge);
      else edges.add(edgeOf(hop.source === "" ? "binds" : "alternate", hop.source === "" ? start : nodeOf("exchange", hop.source), target));
    }
    for (const { queue, handler } of way.arrivals) {
      if (!handler) continue;
      nodes.add(handler.node);
      for (const [name, edge] of handler.edges) if (name === queue.name) edges.add(edge);
    }
    edges.delete(-1);
    return [edges, nodes];
  }

  function summed(way) {
    if (!way.arrivals.length) return "The message reaches no queue.";
    const parts = way.arrivals.map(({ queue, handler }) =>
      `${queue.name}, ${handler ? `handled by ${handler.name}` : "where no handler takes it"}`,
    );
    return `The message reaches ${plural(parts.length, "queue")}: ${parts.join("; ")}.`;
  }

  function stepOf(hop) {
    const target = element("span", {}, `${hop.kind} `, code(hop.to));
    if (hop.source === "") return element("li", {}, "by its name to ", target);
    const source = element("span", {}, "exchange ", code(hop.source));
    if (hop.binding === null) return element("li", {}, source, ", as nothing else takes it, to its alternate ", target);
    const { key, headers } = hop.binding;
    const type = graph.exchanges.get(hop.source).type;
    if (type === "fanout") return element("li", {}, source, " takes every message to ", target);
    if (type === "headers") return element("li", {}, source, ", binding by headers ", code(textOf(headers)), ", to ", target);
    return element("li", {}, source, ", binding ", code(key), ", to ", target);
  }

  const textOf = (headers) => {
    const match = headers.get("x-match") ?? "all";
    const rest = [...headers].filter(([name]) => name !== "x-match");
    return `${match}: ${rest.map(([name, value]) => `${name}=${typeof value === "string" ? `'${value}'` : value}`).join(", ")}`;
  };

  function* told(way) {
    yield element("h3", {}, "Key ", code(way.key), " published to ", way.exchange ? "exchange " : "", way.exchange ? code(way.exchange) : "the default exchange");
    for (const event of way.events) yield element("p", {}, "It is of the event ", code(event.pattern), ` with a body of ${event.body}.`);
    if (way.hops.length) yield element("ul", { class: "steps" }, ...way.hops.map(stepOf));
    if (!way.arrivals.length) yield element("p", { class: "none" }, "It reaches no queue: a mandatory message is returned, any other is dropped.");
    for (const arrival of way.arrivals) yield* arrived(arrival);
  }

  function where(handler) {
    const what = handler.fallback ? "fallback" : `'${handler.pattern}'`;
    return ` (${what} of ${handler.queue === null ? "any queue" : `queue '${handler.queue}'`})`;
  }

  const SHOWN = 8;

  function* arrived({ queue, handler, unclear, captures, lost, waits, dead }) {
    yield element("h3", {}, queue.node === null ? `queue ${queue.name}` : link(queue.node, `queue ${queue.name}`));
    if (unclear.length) {
      const names = unclear.map((each) => each.name + where(each)).join(" and ");
      yield element("p", { class: "none" }, `Several handlers match, and none is the most specific: ${names}.`);
    } else if (handler === null) {
      yield element("p", { class: "none" }, `No handler takes it, and it ${dead ? `goes to ${dead}` : "is dropped"}.`);
    } else {
      const found = captures.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(", ");
      yield element("p", { class: "won" }, "\u2713 Handled by ", link(handler.node, handler.name), where(handler), found ? ` with ${found}` : "");
      yield element("p", {}, `If that fails: ${[...waits, dead ?? "dropped"].join(" \u2192 ")}`);
    }
    const near = lost.filter(([, why]) => why !== "does not match");
    const far = lost.filter(([, why]) => why === "does not match");
    for (const [other, why] of [...near, ...far.slice(0, SHOWN)]) {
      yield element("p", { class: "lost" }, `\u2717 Not by ${other.name}${where(other)}: ${why}`);
    }
    if (far.length > SHOWN) yield element("p", { class: "lost" }, `Nor by ${far.length - SHOWN} others that do not match.`);
  }

  function clear() {
    choose(null);
    byId("answer").replaceChildren();
    say("");
  }

  byId("ask").addEventListener("submit", (event) => { event.preventDefault(); answer(); });
  byId("ask").addEventListener("reset", () => { clear(); setTimeout(hint); });
  for (const name of ["exchange", "key"]) byId(name).addEventListener("input", hint);
  hint();

  // --- find by name ---

  const MOST = 12;

  function matching() {
    const wanted = byId("name").value.trim().toLowerCase();
    return wanted ? facts.nodes.flatMap((node, at) => (node.name.toLowerCase().includes(wanted) ? [at] : [])) : [];
  }

  function find() {
    const found = matching();
    for (const box of boxes) box.group.classList.toggle("found", box.isNode && found.includes(box.node));
    const items = found.slice(0, MOST).map((node) => element("li", {}, link(node)));
    if (found.length > MOST) items.push(element("li", { class: "hint" }, `and ${found.length - MOST} more`));
    byId("found").replaceChildren(...items);
    if (byId("name").value.trim()) say(`${plural(found.length, "name")} found`);
  }

  byId("name").addEventListener("input", find);
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    const [first] = matching();
    if (first !== undefined) choose(boxOfNode.get(first));
  });

  // --- findings ---

  if (facts.findings.length) {
    byId("wrong").hidden = false;
    byId("findings-title").textContent = `${plural(facts.findings.length, "finding")} of the check`;
    const items = facts.findings.map((finding) => element(
      "li",
      { class: finding.severity },
      element("strong", {}, finding.severity),
      ` ${finding.code}: ${finding.message}`,
      finding.node === null ? null : element("div", {}, link(finding.node)),
    ));
    byId("findings").replaceChildren(...items);
    byId("findings-box").open = matchMedia("(min-width: 900px)").matches;
  }

  // --- the size of the drawing ---

  const { width, height } = svg.viewBox.baseVal;
  let scale = 1;

  function zoom(to) {
    scale = Math.min(3, Math.max(0.1, to));
    svg.setAttribute("width", String(Math.round(width * scale)));
    svg.setAttribute("height", String(Math.round(height * scale)));
  }

  const fitting = () => Math.min(1.25, (paper.clientWidth - 4) / width);
  byId("smaller").addEventListener("click", () => zoom(scale / 1.25));
  byId("larger").addEventListener("click", () => zoom(scale * 1.25));
  byId("fit").addEventListener("click", () => zoom(fitting()));
  zoom(Math.max(fitting(), 0.75));
  if (current) show(current, "auto");
})();
