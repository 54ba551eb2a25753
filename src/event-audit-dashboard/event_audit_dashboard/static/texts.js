// Translates texts of scripts. The file `texts.LANGUAGE.js` has the translations; English has none.
// A number selects a plural form by its last two digits: the rules of all languages of gettext do so.
const { texts = {}, plurals = [] } = window.auditflowTexts ?? {};

function fill(text, values) {
  return text.replace(/%\((\w+)\)s/g, (whole, name) => String(values[name] ?? whole));
}

export const gettext = (message, values = {}) => fill(texts[message] ?? message, values);

export function ngettext(singular, plural, count) {
  const forms = texts[singular];
  const index = plurals[count < 200 ? count : 100 + (count % 100)];
  const english = count === 1 ? singular : plural;
  return fill(forms?.[index] ?? english, { count });
}
