/** hasReached reports whether the cursor is at the ID or after it. IDs of two logs have no order. */
export function hasReached(cursor, id) {
	const [epoch, seq] = cursor.split('-'), [otherEpoch, otherSeq] = id.split('-');
	return epoch === otherEpoch && Number(seq) >= Number(otherSeq);
}
