#!/usr/bin/env bash
# Measures sopflow beside its peers with the peer harness, in one session.
#
#   PEERS=/path/of/the/harness bench/peers/run.sh m2 m3 m4 m5 rules
#
# Copies the harness, adds sopflow.mjs to its adapters, installs its packages
# from npm and runs the measures on a private server like that of bench/run.sh.
#   REPS=3          rounds           M4_FUTURE=1000000   far-future jobs of m4
#   M5_SECS=300     steady phase of m5           M3_PEERS, M4_PEERS   other lists
# rules: rounds of the JavaScript rule engines, of MVEL where Debian's
# libmvel-java and a JDK are installed, and of ../rules_fire.sh in turn.
: "${PEERS:?set PEERS to the folder of the peer harness}"
HERE=$(cd "$(dirname "$0")" && pwd)
source "$HERE/../server.sh"
start_server
psql -Xqd postgres -c 'CREATE DATABASE bench'
export PGDATABASE=bench

cp -r "$PEERS" "$BENCH_TMP/peers"
cd "$BENCH_TMP/peers"
rm -rf results
cp "$HERE/sopflow.mjs" .
# one more adapter; and let BATCH choose the batch of the floors
printf "import { sopflow } from './sopflow.mjs';\npeers.sopflow = sopflow;\n" >>adapters.mjs
sed -i 's/^const BATCH = 1000;/const BATCH = +(process.env.BATCH || 1000);/' adapters.mjs
[ -d node_modules ] || npm install --package-lock=false --no-audit --no-fund --loglevel=error

[ $# -gt 0 ] || set -- m1 m2 m3 m4 m5 m6
for m in "$@"; do
	case $m in
		m1) node bench.mjs m1 --reps "${REPS:-3}" --peers f3,f1,f2,graphile,pgboss,pgq,sopflow ;;
		m2)
			node bench.mjs m2 --reps "${REPS:-3}" --peers f1,f2,f2s,graphile,pgboss:default,pgboss:conc2,pgq:tick1k,sopflow,sopflow:pipelined
			BATCH=100 BENCH_OUT=$BENCH_TMP/peers/results100 node bench.mjs m2 --reps "${REPS:-3}" --peers f2,sopflow,sopflow:pipelined
			;;
		m3) node bench.mjs m3 --reps "${REPS:-3}" --peers "${M3_PEERS:-f1:notify,graphile,graphile:direct,pgboss:notify,pgq:tick10,sopflow,sopflow:broadcast}" ;;
		m4)
			: "${M4_PEERS:=f1:poll10,graphile:poll100,pgboss:tuned,sopflow,sopflow:broadcast}"
			node bench.mjs m4 --reps "${REPS:-3}" --peers "$M4_PEERS"
			[ "${M4_FUTURE:=1000000}" = 0 ] || node bench.mjs m4 --reps "${REPS:-3}" --future "$M4_FUTURE" --peers "$M4_PEERS"
			;;
		m5) node bench.mjs m5 --reps 1 --secs "${M5_SECS:-180}" --peers f1:poll10,f2:poll10,graphile,pgboss:tuned,pgq:tick100,sopflow ;;
		m6) node bench.mjs m6 --reps "${REPS:-3}" --peers f1:poll10,graphile,graphile:poll100,pgboss:default2s,pgboss:tuned,pgq:tick1000,sopflow ;;
		rules)
			MVEL=/usr/share/java/mvel2.jar:/usr/share/java/asm.jar:$PWD
			javac -cp "$MVEL" -d . "$HERE/MvelRules.java" 2>/dev/null || { echo "no MVEL, or no JDK"; MVEL=; }
			for ((i = 0; i < ${REPS:-3}; i++)); do
				node rules.mjs --reps 1 --sizes 0,1000,10000 --engines js,zen32,zentable,jre | tee -a rules.jsonl
				# its compiler to bytecode does not know the class files of newer Java
				[ -z "$MVEL" ] || java -Dmvel2.disable.jit=true -cp "$MVEL" MvelRules 0 1000 10000 | tee -a rules.jsonl
				ROUNDS=1 bash "$BENCH/rules_fire.sh"
			done
			;;
		*) echo "no such measure: $m (there are m1 to m6 and rules)" >&2; exit 2 ;;
	esac
done
echo
[ ! -f results/results.jsonl ] || node summarize.mjs
[ ! -f results100/results.jsonl ] || { echo "batches of 100"; node summarize.mjs results100/results.jsonl; }
[ ! -f rules.jsonl ] || node -e '
	const of = {};
	for (const line of require("fs").readFileSync("rules.jsonl", "utf8").trim().split("\n").map(JSON.parse))
		(of[`${line.engine}, 5 + ${line.extra} rules`] ??= []).push(line.us_per_eval);
	for (const [name, v] of Object.entries(of)) console.log(name, "us:", v.sort((a, b) => a - b)[v.length >> 1], `(${v[0]}-${v.at(-1)})`);
'
