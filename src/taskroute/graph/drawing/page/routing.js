// Routing: where a message goes and which handler takes it, as `Routes.explain` tells it. It touches no document.
// Held to the Python in topology/routing.py, keys/automaton.py, handlers/resolver.py and graph/explain.py by the tests.
"use strict";

const routing = (() => {
  const splitWords = (key) => (key === "" ? [] : key.split("."));

  // A run of wildcards as its "*" followed by at most one "#": the keys stay the same.
  function normalize(tokens) {
    const result = [];
    let pending = false;
    for (const token of tokens) {
      if (token === "#") {
        pending = true;
        continue;
      }
      if (pending && token !== "*") {
        result.push("#");
        pending = false;
      }
      result.push(token);
    }
    if (pending) result.push("#");
    return result;
  }

  // A pattern read word by word. A set of positions is a bigint with a bit for each position.
  class Automaton {
    constructor(tokens) {
      this.literals = new Map();
      this.oneWord = this.anyWords = this.openRuns = 0n;
      let bit = 1n;
      let run = 0n; // the "*" directly before this token
      for (const token of normalize(tokens)) {
        if (token === "#") {
          this.anyWords |= bit;
          this.openRuns |= run | bit;
        } else if (token === "*") {
          this.oneWord |= bit;
        } else {
          this.literals.set(token, (this.literals.get(token) ?? 0n) | bit);
        }
        run = token === "*" ? run | bit : 0n;
        bit <<= 1n;
      }
      this.accepting = bit;
      this.start = this.withSkips(1n);
    }

    withSkips(positions) {
      return positions | ((positions & this.anyWords) << 1n);
    }

    step(positions, word) {
      const movable = (this.literals.get(word) ?? 0n) | this.oneWord;
      return this.withSkips(((positions & movable) << 1n) | (positions & this.anyWords));
    }

    // What reading a "#" or a "*" of another pattern leaves alive.
    stepOver(positions, token) {
      if (token === "#") return this.withSkips(positions & this.openRuns);
      if (token === "*") return this.withSkips(((positions & this.oneWord) << 1n) | (positions & this.anyWords));
      return this.step(positions, token);
    }

    accepts(words) {
      const end = words.reduce((positions, word) => this.step(positions, word), this.start);
      return (end & this.accepting) !== 0n;
    }

    reads(tokens) {
      const end = tokens.reduce((positions, token) => this.stepOver(positions, token), this.start);
      return (end & this.accepting) !== 0n;
    }
  }

  // One empty word cannot be written as a key, so "#." is read as "*.#.".
  function writable(tokens) {
    const required = tokens.filter((token) => token !== "#");
    if (required.length !== 1 || required[0] !== "") return [tokens];
    return tokens.flatMap((token, at) =>
      token === "#" ? [normalize([...tokens.slice(0, at), "*", ...tokens.slice(at)])] : [],
    );
  }

  const isSubset = (inner, outer) => writable(normalize(inner)).every((variant) => outer.reads(variant));

  const CAPTURE = /^\{([A-Za-z0-9_]+)(:#)?\}$/;

  // "video.{action}" as tokens and the names of its captures.
  function parsePattern(template) {
    const tokens = [];
    const names = [];
    for (const word of splitWords(template)) {
      const capture = CAPTURE.exec(word);
      tokens.push(capture ? (capture[2] ? "#" : "*") : word);
      names.push(capture ? capture[1] : null);
    }
    return { tokens, names, automaton: new Automaton(tokens) };
  }

  // What a pattern captures of a key that matches: [name, word or list of words].
  function captures(pattern, words) {
    const found = [];
    const before = pattern.tokens.indexOf("#");
    const after = words.length - (pattern.tokens.length - before - 1);
    pattern.names.forEach((name, at) => {
      if (name === null) return;
      if (before >= 0 && at === before) found.push([name, words.slice(before, after)]);
      else found.push([name, before >= 0 && at > before ? words[after + at - before - 1] : words[at]]);
    });
    return found;
  }

  // Headers from JSON. Whole numbers are bigints, so that none is rounded and 1 differs from 1.0 inside a list.
  function parseHeaders(text) {
    const whole = (value, source) =>
      source === undefined ? Number.isSafeInteger(value) : /^-?\d+$/.test(source);
    const parsed = JSON.parse(text, (name, value, context) => {
      if (typeof value !== "number" || !whole(value, context?.source)) return value;
      return BigInt(context?.source ?? value);
    });
    if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) {
      throw new SyntaxError("headers are an object, such as {\"format\": \"pdf\"}");
    }
    return new Map(Object.entries(parsed));
  }

  const isNumber = (value) => typeof value === "bigint" || typeof value === "number";

  // Of values of their own the type of AMQP does not count, inside of lists and tables it does.
  function sameTerm(one, other) {
    if (isNumber(one)) return isNumber(other) && one == other;
    if (one === null || typeof one !== "object") return one === other;
    if (other === null || typeof other !== "object") return false;
    const mine = Object.entries(one);
    const theirs = Object.entries(other);
    if (mine.length === 0 && theirs.length === 0) return true;
    return (
      Array.isArray(one) === Array.isArray(other) &&
      mine.length === theirs.length &&
      mine.every(([name, value], at) => name === theirs[at][0] && sameTyped(value, theirs[at][1]))
    );
  }

  const kindOf = (value) => (value === null ? "null" : Array.isArray(value) ? "list" : typeof value);
  const sameTyped = (one, other) => kindOf(one) === kindOf(other) && sameTerm(one, other);

  // None in a binding asks for the header alone. True and false equal no number.
  const sameValue = (wanted, actual) => wanted === null || sameTerm(wanted, actual);

  function headersMatch(wanted, headers) {
    const kind = wanted.has("x-match") ? wanted.get("x-match") : "all";
    const withX = kind === "all-with-x" || kind === "any-with-x";
    const counted = [...wanted].filter(([name]) => name !== "x-match" && (withX || !name.startsWith("x-")));
    const test = ([name, value]) => headers.has(name) && sameValue(value, headers.get(name));
    return kind === "any" || kind === "any-with-x" ? counted.some(test) : counted.every(test);
  }

  // The routing key, and those of CC and BCC.
  function allKeys(key, headers) {
    const keys = [key];
    for (const name of ["CC", "BCC"]) {
      if (!headers.has(name)) continue;
      const extra = headers.get(name);
      if (!Array.isArray(extra) || !extra.every((each) => typeof each === "string")) {
        throw new RangeError(`the header ${name} is a list of routing keys`);
      }
      keys.push(...extra);
    }
    return keys;
  }

  const TAKES = {
    topic: (binding, keys) => keys.some((key) => binding.automaton.accepts(splitWords(key))),
    direct: (binding, keys) => keys.includes(binding.key),
    fanout: () => true,
    headers: (binding, keys, headers) => headersMatch(binding.headers, headers),
  };

  // Facts are what html.py writes; the graph is made of them once.
  function graphOf(facts) {
    const exchanges = new Map(facts.exchanges.map((each) => [each.name, { ...each, bindings: [] }]));
    for (const each of facts.bindings) {
      const source = exchanges.get(each.exchange);
      source.bindings.push({
        ...each,
        automaton: source.type === "topic" ? new Automaton(splitWords(each.key)) : null,
        headers: parseHeaders(each.headers),
      });
    }
    const handlers = facts.handlers.map((each) => ({ ...each, ...parsePattern(each.pattern) }));
    const events = facts.events.map((each) => ({ ...each, ...parsePattern(each.pattern) }));
    return { exchanges, handlers, events, queues: new Map(facts.queues.map((each) => [each.name, each])) };
  }

  // The steps of a message, in their order: where from, what to, and through which binding.
  function hopsOf(graph, exchange, keys, headers) {
    if (exchange === "") {
      const known = keys.filter((key) => graph.queues.has(key));
      return known.map((key) => ({ source: "", kind: "queue", to: key, binding: null }));
    }
    const hops = [];
    const seen = new Set([exchange]);
    for (const name of seen) { // those that are added come up too
      const source = graph.exchanges.get(name);
      const taken = source.bindings.filter((binding) => TAKES[source.type](binding, keys, headers));
      const found = taken.map((binding) => ({ source: name, kind: binding.kind, to: binding.to, binding }));
      if (found.length === 0 && source.alternate !== null) {
        found.push({ source: name, kind: "exchange", to: source.alternate, binding: null });
      }
      hops.push(...found);
      for (const hop of found) if (hop.kind === "exchange") seen.add(hop.to);
    }
    return hops;
  }

  const isOneWith = (one, other) => one.same === other.same;

  // The handler of a key in a queue, or null; `unclear` has those of which none is the most specific.
  function resolve(graph, queue, words) {
    for (const [owner, isFallback] of [[queue, false], [null, false], [queue, true], [null, true]]) {
      const matching = graph.handlers.filter(
        (each) => each.queue === owner && each.fallback === isFallback && each.automaton.accepts(words),
      );
      if (matching.length === 0) continue;
      const best = matching.find((each) =>
        matching.every((other) => isOneWith(each, other) || isSubset(each.tokens, other.automaton)),
      );
      return best ? { winner: best, unclear: [] } : { winner: null, unclear: matching };
    }
    return { winner: null, unclear: [] };
  }

  function whyLost(handler, winner, words) {
    if (winner === null || !handler.automaton.accepts(words)) return "does not match";
    if (handler.fallback && !winner.fallback) return "is a fallback";
    if (handler.queue === null && winner.queue !== null) return "is for any queue, and the queue's own come first";
    return `is less specific than '${winner.pattern}'`;
  }

  function arrive(graph, queue, words) {
    const { winner, unclear } = resolve(graph, queue.name, words);
    const others = graph.handlers.filter(
      (each) => each !== winner && (each.queue === queue.name || each.queue === null),
    );
    const delays = winner === null ? [] : (winner.waits ?? queue.waits.map(([delay]) => delay));
    const names = new Map(queue.waits);
    return {
      queue,
      handler: winner,
      unclear,
      captures: winner === null ? [] : captures(winner, words),
      lost: others.map((each) => [each, whyLost(each, winner, words)]),
      waits: delays.map((delay) => names.get(delay)),
      dead: queue.dead,
    };
  }

  // What becomes of a message. Throws an Error with a text for people where there is no answer.
  function explain(graph, { exchange, key, headers }) {
    const keys = allKeys(key, headers);
    if (exchange !== "") {
      const source = graph.exchanges.get(exchange);
      if (source === undefined) throw new RangeError(`there is no exchange '${exchange}'`);
      if (source.internal) throw new RangeError(`exchange '${exchange}' is internal: nobody can publish to it`);
    }
    const words = splitWords(key);
    const hops = hopsOf(graph, exchange, keys, headers);
    const reached = new Set(hops.filter((hop) => hop.kind === "queue").map((hop) => hop.to));
    const arrivals = [...graph.queues.values()]
      .filter((queue) => reached.has(queue.name))
      .map((queue) => arrive(graph, queue, words));
    const events = graph.events.filter((each) => each.exchange === exchange && each.automaton.accepts(words));
    return { exchange, key, hops, arrivals, events };
  }

  return { Automaton, explain, graphOf, headersMatch, isSubset, parseHeaders, parsePattern, splitWords };
})();
