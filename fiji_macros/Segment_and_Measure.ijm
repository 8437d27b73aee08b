// Segment and measure
//
// Starts the bridge on a folder of images: Cellpose finds the cells, their masks become ROI sets, ImageJ subtracts the
// background and measures every cell, tables and figures are written. Shows how far it is; Esc stops it (what is done is
// kept, and the same settings resume there). At its end the table of all cells is opened.
//
// Input   a folder of images: a folder for each condition, f1_phase.tif beside f1_EdU.tif (the README names other ways).
// Output  the results folder: cells.csv, conditions/, figures/, overlays/, rois/, masks/, measurements/.
//
// In Fiji the Python process that stays does it (Ask Worker). Elsewhere it starts the program whose path
// "cellpose-fiji macros install" wrote into command.txt beside this file.
//
// In the window  choose it from the menu, or run it with the arguments below.
// Headless       ImageJ --headless -macro Segment_and_Measure.ijm "images=[/path/images] out=[/path/results]"
// Arguments      images=[..] out=[..] and, each if you like, segment=[..] measure=[..] count=[..] (channels: cells, EdU, nuclei)
//                model=[..] diameter=[..] nuclei_model=[..] nuclei_diameter=[..] radius=[50] pattern=[..] control=[..]
//                edu_control=[..], or settings=[file.toml] for all of these; preview=[yes] only shows the outlines of one
//                field with several diameters; command=[..] for another program than the one in command.txt.
//                It returns "OK: ..." or "Error: ...".
// In a macro     run("Segment and Measure", "images=[..] out=[..] ..."), as the Recorder writes it

var args = "";
var returns = false;
var headless = false;
// What the functions below find. Esc may come at any moment, and ImageJ throws an exception where a function that it
// ends was to return a text; so these return nothing.
var answer = "";
var state = "running";
var patience = 60000;  // ms without a word from the program
var kept = false;  // whether Fiji's own process does it
var command = "";

args = getArgument();
// Fiji shows what a macro returns in a window: only who gives arguments gets an answer.
if (args != "") returns = true;
// run("Segment and Measure", "...") hands its options over in another way than runMacro(file, "...").
options = "" + call("ij.Macro.getOptions");
if (args == "" && indexOf(options, "=") > 0) args = options;
if (call("java.awt.GraphicsEnvironment.isHeadless") == "true") headless = true;
if (startsWith(args, "watch=[")) {
	status = option("watch", "");
	watch(status);
	return state;
}

// What the dialog asks for: the name of the argument, of the setting, and what is said.
names = newArray("segment", "measure", "count", "model", "diameter", "nuclei_model", "nuclei_diameter", "radius", "pattern", "control", "edu_control");
keys = newArray("segment", "measure", "count", "model", "diameter", "count-model", "count-diameter", "rolling-ball", "pattern", "control", "edu-control");
asks = newArray("Channel of the cells (empty: phase contrast)", "Channel that is measured (empty: EdU)", "Channel of the nuclei, or none (empty: TO-PRO-3, DAPI, Hoechst)",
	"Model for cells (empty: cyto3)", "Diameter of a cell (px, auto, or empty: the model's own)", "Model for nuclei (empty: nuclei)", "Diameter of a nucleus (px, auto, or empty)",
	"Radius of the rolling ball (px, or none)", "How files are named (empty: a folder for each condition)", "Control condition (may be empty)", "Control without EdU (may be empty)");
values = newArray(names.length);
for (i = 0; i < names.length; i++) values[i] = "";
values[7] = "50";
settings = ""; preview = false;
here = File.getParent(getInfo("macro.filepath"));
// Fiji runs what is in its menu as a text: macro.filepath is then that of another macro.
plugins = "" + getDirectory("plugins") + "Cellpose Fiji Bridge";
if (!File.exists(here + File.separator + "command.txt") && File.isDirectory(plugins)) here = plugins;
if (args == "") {
	Dialog.create("Segment and measure");
	Dialog.addDirectory("Images (folder)", call("ij.Prefs.get", "cellposefiji.images", ""));
	Dialog.addDirectory("Out (folder for the results)", call("ij.Prefs.get", "cellposefiji.out", ""));
	for (i = 0; i < names.length; i++) Dialog.addString(asks[i], call("ij.Prefs.get", "cellposefiji." + names[i], values[i]), 20);
	Dialog.addFile("Settings file instead of those above (may be empty)", call("ij.Prefs.get", "cellposefiji.settings", ""));
	Dialog.addCheckbox("First look: outlines of one field with several diameters, no run", false);
	Dialog.show();
	images = Dialog.getString();
	out = Dialog.getString();
	for (i = 0; i < names.length; i++) {
		text = Dialog.getString();
		values[i] = text;
	}
	settings = Dialog.getString();
	preview = Dialog.getCheckbox();
	call("ij.Prefs.set", "cellposefiji.images", images);
	call("ij.Prefs.set", "cellposefiji.out", out);
	for (i = 0; i < names.length; i++) call("ij.Prefs.set", "cellposefiji." + names[i], values[i]);
	call("ij.Prefs.set", "cellposefiji.settings", settings);
} else {
	images = option("images", "");
	out = option("out", "");
	for (i = 0; i < names.length; i++) {
		text = option(names[i], values[i]);
		values[i] = text;
	}
	settings = option("settings", settings);
	text = option("preview", "");
	if (text == "yes") preview = true;
}
command = option("command", "");
// The process that Fiji keeps is asked by a script, which plain ImageJ does not have.
List.setCommands;
if (command == "" && List.get("Ask Worker") != "") kept = true;
if (command == "" && !kept && File.exists(here + File.separator + "command.txt")) {
	unescape(replace(File.openAsString(here + File.separator + "command.txt"), "\n", ""));
	command = answer;
}
if (command == "" && !kept) return "" + stop("command.txt: not beside this macro (expected in " + here + "). Run: cellpose-fiji macros install --fiji PATH");
if (!kept && !File.exists(command)) return "" + stop(command + ": is not there any more (expected the program of the bridge). Install the bridge again, then run: cellpose-fiji macros install --fiji PATH");
if (images == "") return "" + stop("images: nothing named (expected a folder of images). Name one.");
if (out == "") return "" + stop("out: nothing named (expected a folder for the results). Name one.");
if (!File.isDirectory(images)) return "" + stop(images + ": no such folder (expected a folder of images). Check the path.");
if (settings != "" && !File.exists(settings)) return "" + stop(settings + ": no such settings file. Check the path.");

// The program runs by itself: it says in a file how far it is, and stops when it finds a second one.
base = getDirectory("temp") + "cellpose-fiji-" + d2s(getTime(), 0);
status = base + ".txt";
setOption("WaitForCompletion", false);
own = settings;
if (settings == "") {
	own = base + ".toml";
	text = "";
	for (i = 0; i < names.length; i++) if (values[i] != "") text = text + keys[i] + " = \"" + escaped(values[i]) + "\"\n";
	// A path with letters that this system's command line has no room for goes through the file.
	if (!preview) text = text + "images = \"" + escaped(images) + "\"\nout = \"" + escaped(out) + "\"\n";
	File.saveString(text, own);
}
picture = out + File.separator + "preview.png";
if (kept) {
	if (preview) words = newArray("preview", images, "--out", picture, "--status", status, "--settings", own);
	else if (settings != "") words = newArray("run", images, "--out", out, "--status", status, "--settings", settings);
	else words = newArray("run", "--status", status, "--trust-settings", "--settings", own);
	text = "";
	for (i = 0; i < words.length; i++) text = text + "\"" + escaped(words[i]) + "\", ";
	File.saveString("arguments = [" + text + "]\n", base + "-request.toml");
	run("Ask Worker", "request=[" + base + "-request.toml] wait=false");
} else if (preview) exec(command, "preview", images, "--out", picture, "--status", status, "--settings", own);
else if (settings != "") exec(command, "run", images, "--out", out, "--status", status, "--settings", settings);
else exec(command, "run", "--status", status, "--trust-settings", "--settings", own);
showStatus("Cellpose Fiji Bridge starts; Esc stops it");
// In a macro of its own: Esc ends that one, and this one goes on.
if (headless || !File.exists(here + File.separator + "Segment_and_Measure.ijm")) watch(status);
else state = runMacro(here + File.separator + "Segment_and_Measure.ijm", "watch=[" + status + "]");
if (state != "done" && state != "failed" && state != "error" && state != "stopped" && state != "silent") {
	File.saveString("stop", status + ".cancel");
	showStatus("Cellpose Fiji Bridge stops; the same settings resume there");
	state = "running";
	patience = 15000;
	watch(status);
	if (state == "running" || state == "silent") state = "stopped";
}
showProgress(1);
find(status, "message");
message = answer;
find(status, "done");
fields = answer + " of ";
find(status, "total");
fields = fields + answer + " fields";
if (File.exists(status)) ok = File.delete(status);
if (File.exists(base + ".toml")) ok = File.delete(base + ".toml");
if (state == "silent") return "" + stop("The bridge did not start or died (nothing heard of it for a minute). " + advice());
if (state == "stopped") {
	showStatus("Cellpose Fiji Bridge stopped; the same settings resume there");
	if (returns) return "Error: stopped; what is done is kept, and the same settings resume there";
	if (args != "") call("ij.Macro.abort");
	exit;
}
if (state == "error") return "" + stop(message);
if (preview) {
	if (state != "done" || !File.exists(picture)) return "" + stop(picture + ": was not written. " + message);
	if (!headless) open(picture);
	showStatus("Choose a diameter, and start again without the first look");
	if (returns) return "OK: look at " + picture;
	exit;
}
table = out + File.separator + "cells.csv";
// Very many cells are in the folder cells.parquet, which ImageJ does not read.
if (!File.exists(table) && !File.exists(out + File.separator + "cells.parquet")) return "" + stop(out + ": has no cells.csv (expected one at the end of a run). " + message);
if (!headless && File.exists(table)) open(table);
if (state == "failed") return "" + stop(fields + " done. " + message + " What failed is listed in failures.csv.");
showStatus("Cellpose Fiji Bridge: " + fields + " done");
if (returns) return "OK: " + fields + " done. Results in " + out;


function advice() {
	if (kept) return "Look into the Log, or choose Install Bridge.";
	return "Try it in a terminal: " + command + " doctor";
}

// Shows how far the program is until it ends; `state` is then what it says last, or "silent".
function watch(status) {
	heard = getTime();
	last = "";
	while (state == "running") {
		wait(200);
		if (File.exists(status)) {
			changed = File.lastModified(status);
			if (changed != last) {
				last = changed;
				heard = getTime();
			}
			find(status, "total");
			total = answer;
			find(status, "now");
			now = answer;
			find(status, "done");
			if (total != "" && answer != "") {
				showProgress(parseInt(answer), parseInt(total));
				showStatus("Cellpose Fiji Bridge: " + answer + " of " + total + " fields, " + now + " (Esc stops it)");
			}
			find(status, "state");
			if (answer != "") state = answer;
		}
		if (getTime() - heard > patience) state = "silent";
	}
}

// `answer` becomes one line of the status file (its name, a tab, its value); empty while the file is not whole.
function find(status, name) {
	answer = "";
	if (File.exists(status)) {
		text = "\n" + File.openAsString(status);
		begin = indexOf(text, "\n" + name + "\t");
		if (begin >= 0 && indexOf(text, "\nend\t") >= 0) {
			begin = begin + lengthOf(name) + 2;
			unescape(substring(text, begin, indexOf(text, "\n", begin)));
		}
	}
}

function escaped(text) {
	said = "";
	for (j = 0; j < lengthOf(text); j++) {
		code = charCodeAt(text, j);
		if (code >= 55296 && code < 56320 && j + 1 < lengthOf(text)) {
			// Half of a character beyond the first plane: TOML wants it whole.
			j++;
			said = said + "\\U" + IJ.pad(toHex((code - 55296) * 1024 + charCodeAt(text, j) - 56320 + 65536), 8);
			code = 0;
		}
		if (code == 0) code = 0;
		else if (code < 32 || code > 126 || code == 92 || code == 34) said = said + "\\u" + IJ.pad(toHex(code), 4);
		else said = said + substring(text, j, j + 1);
	}
	return said;
}

function unescape(text) {
	j = indexOf(text, "\\u");
	while (j >= 0) {
		text = substring(text, 0, j) + fromCharCode(parseInt(substring(text, j + 2, j + 6), 16)) + substring(text, j + 6);
		j = indexOf(text, "\\u", j + 1);
	}
	answer = text;
}

// One value of the arguments: name=[value], or name=value where it has no space.
function option(name, otherwise) {
	begin = indexOf(" " + args, " " + name + "=");
	if (begin < 0) return otherwise;
	begin = begin + lengthOf(name) + 1;
	value = substring(args, begin);
	if (startsWith(value, "[")) return substring(value, 1, indexOf(value + "]", "]"));
	return substring(value, 0, indexOf(value + " ", " "));
}

// Says what is wrong: what the macro returns if it was given arguments, else a message, and the end of the macro.
function stop(text) {
	if (returns) {
		print("Error: " + text);
		return "Error: " + text;
	}
	if (args != "") {
		// The macro whose run(...) this was ends as well.
		print("Error: " + text);
		call("ij.IJ.error", "Segment and measure", text);
	} else showMessage("Segment and measure", text);
	exit;
}
