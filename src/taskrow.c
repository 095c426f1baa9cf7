/*
 * taskrow.c
 *	  Rows of tasks, in and out of the tables that they move between.
 */
#include "postgres.h"

#include "utils/builtins.h"

#include "ledger.h"
#include "shm.h"
#include "stats.h"

enum
{
	TASK_ID, TASK_DUE_AT, TASK_VERSION, TASK_NODE, TASK_SHARD, TASK_ATTEMPT, TASK_ERROR,
	TASK_HELD_BY
};

enum
{
	OFFER_ID, OFFER_DUE_AT, OFFER_TOKEN, OFFER_UNTIL, OFFER_ACTION, OFFER_VERSION, OFFER_NODE,
	OFFER_SHARD, OFFER_ATTEMPT, OFFER_ERROR
};

enum
{
	DEAD_ID, DEAD_DUE_AT, DEAD_FINISHED_AT, DEAD_VERSION, DEAD_NODE, DEAD_SHARD, DEAD_ATTEMPT,
	DEAD_ERROR
};

enum
{
	HISTORY_ID, HISTORY_DUE_AT, HISTORY_FINISHED_AT, HISTORY_VERSION, HISTORY_NODE, HISTORY_ATTEMPT,
	HISTORY_STATUS, HISTORY_ERROR, HISTORY_RESULT
};

void
sf_task_read(TupleTableSlot *slot, SfTask *task)
{
	Datum	   *values = slot->tts_values;

	task->task_id = DatumGetInt64(values[TASK_ID]);
	task->due_at = DatumGetTimestampTz(values[TASK_DUE_AT]);
	task->version_id = DatumGetInt32(values[TASK_VERSION]);
	task->node = DatumGetInt16(values[TASK_NODE]);
	task->shard = DatumGetInt16(values[TASK_SHARD]);
	task->attempt = DatumGetInt16(values[TASK_ATTEMPT]);
	task->error = slot->tts_isnull[TASK_ERROR] ? NULL : TextDatumGetCString(values[TASK_ERROR]);
	task->retried = task->error != NULL;
	task->tid = slot->tts_tid;
}

void
sf_offer_read(TupleTableSlot *slot, SfOffer *offer)
{
	Datum	   *values = slot->tts_values;
	SfTask	   *task = &offer->task;

	task->task_id = DatumGetInt64(values[OFFER_ID]);
	task->due_at = DatumGetTimestampTz(values[OFFER_DUE_AT]);
	task->version_id = DatumGetInt32(values[OFFER_VERSION]);
	task->node = DatumGetInt16(values[OFFER_NODE]);
	task->shard = DatumGetInt16(values[OFFER_SHARD]);
	task->attempt = DatumGetInt16(values[OFFER_ATTEMPT]);
	task->error = slot->tts_isnull[OFFER_ERROR] ? NULL : TextDatumGetCString(values[OFFER_ERROR]);
	task->retried = task->error != NULL;
	task->tid = slot->tts_tid;
	offer->lease_token = DatumGetInt64(values[OFFER_TOKEN]);
	offer->lease_until = slot->tts_isnull[OFFER_UNTIL] ?
		0 : DatumGetTimestampTz(values[OFFER_UNTIL]);
	offer->action_id = DatumGetInt32(values[OFFER_ACTION]);
}

void
sf_dead_read(TupleTableSlot *slot, SfTask *task)
{
	Datum	   *values = slot->tts_values;

	task->task_id = DatumGetInt64(values[DEAD_ID]);
	task->due_at = DatumGetTimestampTz(values[DEAD_DUE_AT]);
	task->version_id = DatumGetInt32(values[DEAD_VERSION]);
	task->node = DatumGetInt16(values[DEAD_NODE]);
	task->shard = DatumGetInt16(values[DEAD_SHARD]);
	task->attempt = DatumGetInt16(values[DEAD_ATTEMPT]);
	task->error = slot->tts_isnull[DEAD_ERROR] ? NULL : TextDatumGetCString(values[DEAD_ERROR]);
	task->retried = task->error != NULL;
	task->tid = slot->tts_tid;
}

char *
sf_held_read_by(TupleTableSlot *slot)
{
	return TextDatumGetCString(slot->tts_values[TASK_HELD_BY]);
}

static void
set_text(TupleTableSlot *row, int column, const char *value)
{
	row->tts_isnull[column] = value == NULL;
	if (value != NULL)
		row->tts_values[column] = CStringGetTextDatum(value);
}

static TupleTableSlot *
task_row(SfWriter *writer, const SfTask *task)
{
	TupleTableSlot *row = sf_writer_row(writer);
	Datum	   *values = row->tts_values;

	values[TASK_ID] = Int64GetDatum(task->task_id);
	values[TASK_DUE_AT] = TimestampTzGetDatum(task->due_at);
	values[TASK_VERSION] = Int32GetDatum(task->version_id);
	values[TASK_NODE] = Int16GetDatum(task->node);
	values[TASK_SHARD] = Int16GetDatum(task->shard);
	values[TASK_ATTEMPT] = Int16GetDatum(task->attempt);
	set_text(row, TASK_ERROR, task->error);
	return row;
}

void
sf_ledger_pend(SfLedger *ledger, const SfTask *task)
{
	SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_TASK);

	sf_writer_add(writer, task_row(writer, task));
	sf_shm_note_due(task->due_at);
}

void
sf_ledger_hold(SfLedger *ledger, const SfTask *task, const char *held_by)
{
	SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_HELD);
	TupleTableSlot *row = task_row(writer, task);

	set_text(row, TASK_HELD_BY, held_by);
	sf_writer_add(writer, row);
}

void
sf_ledger_offer(SfLedger *ledger, const SfTask *task, int32 action_id)
{
	SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_OFFER);
	TupleTableSlot *row = sf_writer_row(writer);

	sf_offer_fill(row, task, 0, 0, action_id);
	sf_writer_add(writer, row);
	sf_shm_note_offer(action_id, (SfPosition) {task->due_at, task->task_id});
}

void
sf_offer_fill(TupleTableSlot *row, const SfTask *task, int64 token, TimestampTz until,
			  int32 action_id)
{
	Datum	   *values = row->tts_values;

	values[OFFER_ID] = Int64GetDatum(task->task_id);
	values[OFFER_DUE_AT] = TimestampTzGetDatum(task->due_at);
	values[OFFER_TOKEN] = Int64GetDatum(token);
	values[OFFER_UNTIL] = TimestampTzGetDatum(until);
	row->tts_isnull[OFFER_UNTIL] = token == 0;
	values[OFFER_ACTION] = Int32GetDatum(action_id);
	values[OFFER_VERSION] = Int32GetDatum(task->version_id);
	values[OFFER_NODE] = Int16GetDatum(task->node);
	values[OFFER_SHARD] = Int16GetDatum(task->shard);
	values[OFFER_ATTEMPT] = Int16GetDatum(task->attempt);
	set_text(row, OFFER_ERROR, task->error);
}

void
sf_ledger_bury(SfLedger *ledger, const SfTask *task)
{
	SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_DEAD);
	TupleTableSlot *row = sf_writer_row(writer);
	Datum	   *values = row->tts_values;

	values[DEAD_ID] = Int64GetDatum(task->task_id);
	values[DEAD_DUE_AT] = TimestampTzGetDatum(task->due_at);
	values[DEAD_FINISHED_AT] = TimestampTzGetDatum(sf_ledger_now(ledger));
	values[DEAD_VERSION] = Int32GetDatum(task->version_id);
	values[DEAD_NODE] = Int16GetDatum(task->node);
	values[DEAD_SHARD] = Int16GetDatum(task->shard);
	values[DEAD_ATTEMPT] = Int16GetDatum(task->attempt);
	set_text(row, DEAD_ERROR, task->error);
	sf_writer_add(writer, row);
	sf_stats_count(SF_COUNT_TASKS_DEAD, 1);
}

void
sf_ledger_record(SfLedger *ledger, const SfTask *task, char status, Jsonb *result)
{
	SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_HISTORY);
	TupleTableSlot *row = sf_writer_row(writer);
	Datum	   *values = row->tts_values;

	values[HISTORY_ID] = Int64GetDatum(task->task_id);
	values[HISTORY_DUE_AT] = TimestampTzGetDatum(task->due_at);
	values[HISTORY_FINISHED_AT] = TimestampTzGetDatum(sf_ledger_now(ledger));
	values[HISTORY_VERSION] = Int32GetDatum(task->version_id);
	values[HISTORY_NODE] = Int16GetDatum(task->node);
	values[HISTORY_ATTEMPT] = Int16GetDatum(task->attempt);
	values[HISTORY_STATUS] = CharGetDatum(status);
	set_text(row, HISTORY_ERROR, task->error);
	values[HISTORY_RESULT] = PointerGetDatum(result);
	row->tts_isnull[HISTORY_RESULT] = result == NULL;
	sf_writer_add(writer, row);
	sf_stats_count(status == 'd' ? SF_COUNT_TASKS_DONE :
				   status == 's' ? SF_COUNT_TASKS_SKIPPED : SF_COUNT_TASKS_CANCELLED, 1);
	if (status == 'c')
		sf_ledger_count_cancelled(ledger);
}
