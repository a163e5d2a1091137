package dev.rerankops.elasticsearch;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * Runs one Elasticsearch node in the foreground until SIGTERM, with settings given as -Ename=value. With
 * -Drerankops.end-with-stdin=true it ends as soon as whoever holds standard input is gone, however that came about.
 *
 * <p>The published jars hold everything but the distribution's start-up; this is what of it a node needs. -Epath.home
 * names the folder with config/, modules/ and plugins/, which the JVM has to know as -Des.path.home too.
 */
public final class Launcher {

    /** Seconds that an orderly end may take once the starter is gone; then the JVM is halted. */
    private static final long GRACE = 8;

    private Launcher() {}

    public static void main(String[] arguments) throws Exception {
        if (Boolean.getBoolean("rerankops.end-with-stdin")) {
            daemon(Launcher::endWithStdin);
        }
        Settings.Builder given = Settings.builder();
        for (String argument : arguments) {
            String[] pair = argument.split("=", 2);
            if (!argument.startsWith("-E") || pair.length != 2) {
                throw new IllegalArgumentException("a setting is given as -Ename=value, not as " + argument);
            }
            given.put(pair[0].substring(2), pair[1]);
        }
        Settings settings = given.build();
        LogConfigurator.setNodeName(settings.get("node.name"));
        LogConfigurator.configureESLogging();
        LogConfigurator.configureWithoutConfig(settings);

        Environment environment = new Environment(settings, Path.of(settings.get("path.home"), "config"));
        PluginsLoader plugins = PluginsLoader.createPluginsLoader(
            PluginsLoader.loadModulesBundles(environment.modulesDir(), false),
            PluginsLoader.loadPluginsBundles(environment.pluginsDir(), false),
            Map.of(),
            false);
        Node node = new Node(environment, plugins);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(node)));
        node.start();
        new CountDownLatch(1).await(); // the node's own threads are daemons: main keeps the JVM alive
    }

    private static void endWithStdin() {
        try {
            while (System.in.read() >= 0) {} // nobody writes: what counts is the end
        } catch (IOException broken) {
            // a pipe that cannot be read has ended too
        }
        daemon(() -> {
            try {
                TimeUnit.SECONDS.sleep(GRACE);
            } catch (InterruptedException early) {
                // then at once
            }
            Runtime.getRuntime().halt(1);
        });
        System.exit(0);
    }

    private static void daemon(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        thread.start();
    }

    private static void close(Node node) {
        try {
            node.close();
        } catch (IOException problem) {
            problem.printStackTrace();
        }
    }
}
