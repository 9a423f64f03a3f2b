// A table that is sorted by the column that the user chooses.

import { button, element, write } from './dom.js';

const collator = new Intl.Collator('en', { numeric: true });
const compare = (a, b) => (typeof a === 'number' ? a - b : collator.compare(a, b));

/**
 * Table fills the table element. A column has a name and text(item), and may have:
 *
 *   - value(item), by which it is sorted in place of the text,
 *   - title(item), the whole text where the cell shows less,
 *   - isNumber: it is aligned to the right, and begins with the largest,
 *   - className of its cells,
 *   - make(item, cell), which fills the cell once, in place of text.
 *
 * A column without a name is not sorted. An item with isFirst stays above the others.
 *
 * Rows stay where they are while the user points at one of them, or has the focus in one.
 */
export class Table {
	#head;
	#body;
	#columns;
	#by;
	#isDescending;
	#rows = new Map(); // by key
	#items = [];

	constructor(table, columns, by) {
		[this.#columns, this.#head, this.#body] = [columns, table.tHead.rows[0], table.tBodies[0]];
		for (const column of columns) {
			const className = column.isNumber ? 'number' : '';
			const th = column.name ? element('th', className, button(column.name, () => this.#sortBy(column))) : element('td');
			if (column.name) th.scope = 'col';
			this.#head.append(th);
		}
		this.#sortBy(columns.find(({ name }) => name === by));
	}

	/** draw shows the items, each with a key of its own. It returns the rows by key. */
	draw(items) {
		this.#items = items;
		const isHeld = this.#body.matches(':hover') || this.#body.contains(document.activeElement);
		this.#fill(isHeld);
		return this.#rows;
	}

	#sortBy(column) {
		this.#isDescending = this.#by === column ? !this.#isDescending : column.isNumber ?? false;
		this.#by = column;
		for (const [i, th] of [...this.#head.cells].entries()) {
			if (this.#columns[i] === column) th.setAttribute('aria-sort', this.#isDescending ? 'descending' : 'ascending');
			else th.removeAttribute('aria-sort');
		}
		this.#fill(false);
	}

	#fill(isHeld) {
		const { text, value = text } = this.#by, keys = new Set(this.#items.map(({ key }) => key));
		for (const [key, row] of this.#rows) {
			if (keys.has(key)) continue;
			row.remove();
			this.#rows.delete(key);
		}
		const items = isHeld ? this.#items : this.#items.toSorted((a, b) => (b.isFirst ?? 0) - (a.isFirst ?? 0) || compare(value(a), value(b)) * (this.#isDescending ? -1 : 1) || compare(a.key, b.key));
		for (const [at, item] of items.entries()) {
			const row = this.#rows.get(item.key) ?? this.#addRow(item);
			for (const [i, { text, title, make }] of this.#columns.entries()) {
				if (make) continue;
				write(row.cells[i], text(item));
				if (title) row.cells[i].title = title(item);
			}
			if (!isHeld && this.#body.rows[at] !== row) this.#body.insertBefore(row, this.#body.rows[at] ?? null);
		}
	}

	#addRow(item) {
		const row = element('tr');
		for (const { isNumber, className = '', make } of this.#columns) {
			const cell = element('td', `${className} ${isNumber ? 'number' : ''}`.trim());
			make?.(item, cell);
			row.append(cell);
		}
		this.#rows.set(item.key, row);
		this.#body.append(row);
		return row;
	}
}
