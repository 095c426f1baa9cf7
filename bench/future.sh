# shellcheck shell=bash
# future_db N: the database bench_future with N far-future tasks of a 4-node
# SOP, written through the intake, kept for the next script that wants it; and
# as many rows in f1_job.
future_db() {
	local n=$1 have t
	export PGDATABASE=bench_future
	if [ "$(PGDATABASE=postgres q -c "SELECT count(*) FROM pg_database WHERE datname = 'bench_future'")" = 0 ]; then
		fresh_db bench_future
		q <<-SQL
		CREATE TABLE far_clients (client_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, happened_at timestamptz NOT NULL);
		SQL
		make_sop broadcast 0
		q <<-SQL
		BEGIN;
		INSERT INTO sopflow.action (action) VALUES ('FAR');
		INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('far', 'FAR');
		INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('far', 'n1', '24 h', 'FAR'), ('far', 'n2', '72 h', 'FAR'),
			('far', 'n3', '168 h', 'FAR'), ('far', 'n4', '336 h', 'FAR');
		COMMIT;
		SELECT sopflow.watch('far_clients', 'FAR', 'client_id', time_column => 'happened_at');
		SQL
	fi
	have=$(q -c "SELECT count(*) FROM f1_job WHERE due_at > now() + interval '30 days'")
	((have < n)) || return 0
	t=0
	while ((have < n)); do
		local chunk=$((n - have < 1000000 ? n - have : 1000000))
		t=$(calc "$t + $(timed <<<"INSERT INTO far_clients (happened_at) SELECT now() + interval '300 days' + ($have + g * 4) * interval '1 s' FROM generate_series(1, $chunk / 4) g;")")
		q -c "INSERT INTO f1_job (payload, due_at) SELECT '{\"i\": -1}', now() + interval '300 days' + ($have + g) * interval '1 s' FROM generate_series(1, $chunk) g"
		have=$((have + chunk))
	done
	q -c 'VACUUM ANALYZE' -c CHECKPOINT
	sync
	sleep 10	# the disk is busy for a while after so much
	note "$n far-future tasks are there; the last of them were written in $(calc "$t / 1000") s"
}
