// Renders /v1/openapi.json. Everything is written as text nodes: nothing in the document can become markup.
'use strict';

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
};

// A schema as an example of its shape: {"name": "string", …}. `seen` ends circles.
const shape = (api, schema, seen = []) => {
  if (!schema) return null;
  if (schema.$ref) {
    const name = schema.$ref.split('/').pop();
    return seen.includes(name) ? name : shape(api, api.components.schemas[name], [...seen, name]);
  }
  const either = schema.oneOf || schema.anyOf || schema.allOf;
  if (either) return shape(api, either.find((option) => option.type !== 'null') || either[0], seen);
  if (schema.example !== undefined) return schema.example;
  if (schema.properties) {
    const needed = schema.required || [];
    return Object.fromEntries(
      Object.entries(schema.properties).map(([key, value]) => [needed.includes(key) ? key : key + '?', shape(api, value, seen)]),
    );
  }
  if (schema.items) return [shape(api, schema.items, seen)];
  const type = [].concat(schema.type || 'any').join(' | ');
  return schema.format ? `${type} (${schema.format})` : type;
};

const body = (api, title, content) =>
  Object.entries(content || {}).map(([type, { schema }]) =>
    element('div', {}, element('p', {}, `${title} · ${type}`), element('pre', {}, JSON.stringify(shape(api, schema), null, 2))));

const operation = (api, path, method, op) => {
  const roles = op['x-roles'] ? op['x-roles'].join(', ') : '无需令牌 · no token';
  const parameters = (op.parameters || []).map((p) =>
    element('tr', {}, element('td', {}, element('code', {}, p.name)), element('td', {}, p.in + (p.required ? '' : ' · 可选 optional')), element('td', {}, p.description || '')));
  return element('details', { 'data-search': `${method} ${path} ${op.summary} ${roles}`.toLowerCase() },
    element('summary', {}, element('span', { class: 'method' }, method.toUpperCase()), element('code', {}, path), element('span', {}, op.summary || ''), element('span', { class: 'roles' }, roles)),
    element('div', {},
      op.description ? element('p', { class: 'text' }, op.description) : null,
      parameters.length ? element('table', {}, ...parameters) : null,
      ...body(api, '请求 · request', op.requestBody && op.requestBody.content),
      ...Object.entries(op.responses || {}).filter(([status]) => status !== 'default')
        .flatMap(([status, response]) => [element('p', {}, `${status} ${response.description || ''}`), ...body(api, status, response.content)])));
};

const show = (api) => {
  const groups = new Map();
  for (const [path, operations] of Object.entries(api.paths)) {
    for (const [method, op] of Object.entries(operations)) {
      const tag = (op.tags || ['…'])[0];
      if (!groups.has(tag)) groups.set(tag, []);
      groups.get(tag).push(operation(api, path, method, op));
    }
  }
  const search = element('input', { type: 'search', placeholder: '查找 · find', 'aria-label': '查找 find' });
  search.addEventListener('input', () => {
    for (const found of document.querySelectorAll('details')) found.hidden = !found.dataset.search.includes(search.value.toLowerCase());
  });
  const codes = (api['x-error-codes'] || []).map((c) =>
    element('tr', { id: `problem-${c.code}` }, element('td', {}, element('code', {}, c.code)), element('td', {}, String(c.status)),
      element('td', {}, c.retryable ? '可重试 retry' : ''), element('td', {}, c.title.zh, element('br'), c.title.en), element('td', {}, c.advice.zh, element('br'), c.advice.en)));
  // Who may do what, in two tables: routes by role, and fields by role.
  const roles = (api['x-roles'] || []).map((r) => r.role);
  const mark = (yes) => element('td', {}, yes ? '●' : '');
  const head = (...titles) => element('tr', {}, ...titles.map((title) => element('th', {}, title)), ...roles.map((role) => element('th', {}, role)));
  const routes = Object.entries(api.paths).flatMap(([path, operations]) => Object.entries(operations).map(([method, op]) =>
    element('tr', {}, element('td', {}, element('code', {}, `${method.toUpperCase()} ${path}`)), ...roles.map((role) => mark(!op['x-roles'] || op['x-roles'].includes(role))))));
  const fields = (api['x-fields'] || []).map((f) =>
    element('tr', {}, element('td', {}, element('code', {}, `${f.kind} ${f.key}`), ' ', f.label_zh), element('td', {}, f.class),
      ...roles.map((role) => element('td', {}, f.editors.includes(role) ? '●' : f.creators.includes(role) ? '○' : ''))));
  document.getElementById('page').replaceChildren(
    element('h1', {}, `${api.info.title} ${api.info.version}`),
    element('p', { class: 'text' }, api.info.description || ''),
    element('p', {}, element('a', { href: '/v1/openapi.json' }, '/v1/openapi.json')),
    search,
    ...[...groups].flatMap(([tag, operations]) => [element('h2', {}, tag), ...operations]),
    element('h2', {}, '角色与接口 · roles and routes'),
    element('table', {}, head(''), ...routes),
    element('h2', {}, '角色与字段 · roles and fields'),
    element('p', {}, '● 可修改 may write · ○ 仅新建时 only when the record is created'),
    element('table', {}, head('', 'P0–P3'), ...fields),
    element('h2', {}, '错误代码 · error codes'),
    element('table', {}, ...codes));
  // The row that a problem's `type` points to exists only now.
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
};

fetch('/v1/openapi.json').then((answer) => answer.json()).then(show, (error) => {
  document.getElementById('page').append(element('p', {}, String(error)));
});
