import java.util.*;
import org.mvel2.MVEL;

/**
 * The five lead-claim checks and N rules that do not match, written in MVEL, compiled, and walked in order over a map of
 * facts: what Easy Rules does with MVEL conditions, without its listeners and logs.  One line of JSON a size.
 */
public class MvelRules
{
	public static class Lead
	{
		public String status = "public", cate = "phone";
		public int last_owner = 2;
		public long released_at = System.currentTimeMillis() - 1000000;
		public boolean task_done = true;
	}

	public static class Rep
	{
		public int id = 1, held = 42, max = 100;
		public String cate = "phone";
	}

	static int fire(List<java.io.Serializable> rules, Map<String, Object> facts)
	{
		int triggered = 0;

		for (java.io.Serializable rule : rules)
			if ((Boolean) MVEL.executeExpression(rule, facts))
				triggered++;
		return triggered;
	}

	public static void main(String[] sizes)
	{
		Map<String, Object> facts = new HashMap<>();

		facts.put("lead", new Lead());
		facts.put("rep", new Rep());
		facts.put("now", System.currentTimeMillis());
		for (String size : sizes)
		{
			List<java.io.Serializable> rules = new ArrayList<>();
			int triggered = 0;
			long begin, calls = 0;

			for (String check : new String[] {"lead.status != 'public'",
				"lead.last_owner == rep.id && now - lead.released_at < 259200000", "!(rep.held < rep.max)",
				"lead.cate != rep.cate", "!lead.task_done"})
				rules.add(MVEL.compileExpression(check));
			for (int i = 0; i < Integer.parseInt(size); i++)
				rules.add(MVEL.compileExpression("lead.cate == 'cat" + i + "' && rep.held > " + i));
			for (begin = System.nanoTime(); System.nanoTime() - begin < 3000000000L;)
				triggered += fire(rules, facts);
			for (begin = System.nanoTime(); System.nanoTime() - begin < 2000000000L; calls++)
				triggered += fire(rules, facts);
			if (triggered != 0)
				throw new IllegalStateException("a rule matched");
			System.out.println("{\"measure\":\"rules\",\"engine\":\"mvel\",\"extra\":" + size + ",\"us_per_eval\":"
				+ String.format(Locale.ROOT, "%.4g", (System.nanoTime() - begin) / 1000.0 / calls) + "}");
		}
	}
}
