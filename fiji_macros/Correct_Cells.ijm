// Correct cells
//
// Opens a field of a run for correction: delete, redraw, add, merge or split its ROIs in the ROI Manager. With OK the
// corrected set is saved where the bridge expects it (RESULTS/corrections/NAME_RoiSet.zip), and the bridge
// makes the corrected label image, lists what changed (corrections.csv) and, if you like, measures the corrected cells
// and makes tables and figures anew (cellpose-fiji correct RESULTS --undo takes that back).
//
// In the ROI Manager  delete: select, Delete. Redraw: select, draw, Update. Add: draw, Add [t]. Merge: select several,
//                     More > OR (Combine), Add, delete the old ones. Split: draw the parts, Add each, delete the old one.
//
// Input   the results folder of a run, the name of a field (its field_id).
// Output  corrections/NAME_RoiSet.zip, corrections/FIELD_mask.tif, corrections.csv.
//
// In Fiji the Python process that stays does it (Ask Worker). Elsewhere it starts the program whose path
// "cellpose-fiji macros install" wrote into command.txt beside this file.
//
// In the window  choose it from the menu, or run it with the arguments below. It needs a window.
// Arguments      results=[..] field=[..] hide=[yes] (do not show the condition); apply=[yes] (tables and figures, too); command=[..] for another program
//                It returns "OK: ..." or "Error: ...".
// In a macro     run("Correct Cells", "results=[..] field=[..]"), as the Recorder writes it

var args = "";
var returns = false;
var status = "";
var command = "";
var kept = false;  // whether Fiji's own process does it

args = getArgument();
// Fiji shows what a macro returns in a window: only who gives arguments gets an answer.
if (args != "") returns = true;
// run("Correct Cells", "...") hands its options over in another way than runMacro(file, "...").
options = "" + call("ij.Macro.getOptions");
if (args == "" && indexOf(options, "=") > 0) args = options;
if (call("java.awt.GraphicsEnvironment.isHeadless") == "true") return "" + stop("Correct_Cells: needs a window (got a headless ImageJ). Run it in Fiji's window.");
here = File.getParent(getInfo("macro.filepath"));
// Fiji runs what is in its menu as a text: macro.filepath is then that of another macro.
plugins = "" + getDirectory("plugins") + "Cellpose Fiji Bridge";
if (!File.exists(here + File.separator + "command.txt") && File.isDirectory(plugins)) here = plugins;
command = option("command", "");
// The process that Fiji keeps is asked by a script, which plain ImageJ does not have.
List.setCommands;
if (command == "" && List.get("Ask Worker") != "") kept = true;
if (command == "" && !kept && File.exists(here + File.separator + "command.txt")) command = unescaped(replace(File.openAsString(here + File.separator + "command.txt"), "\n", ""));
if (command == "" && !kept) return "" + stop("command.txt: not beside this macro (expected in " + here + "). Run: cellpose-fiji macros install --fiji PATH");
if (!kept && !File.exists(command)) return "" + stop(command + ": is not there any more (expected the program of the bridge). Install the bridge again, then run: cellpose-fiji macros install --fiji PATH");
hide = false;
apply = false;
if (args == "") {
	Dialog.create("Correct cells");
	Dialog.addDirectory("Results folder of a run", call("ij.Prefs.get", "cellposefiji.out", ""));
	Dialog.addCheckbox("Hide the condition (fields by chance)", parseInt(call("ij.Prefs.get", "cellposefiji.hide", "0")));
	Dialog.show();
	results = Dialog.getString();
	hide = Dialog.getCheckbox();
	call("ij.Prefs.set", "cellposefiji.out", results);
	call("ij.Prefs.set", "cellposefiji.hide", "" + hide);
} else {
	results = option("results", "");
	wish = option("hide", "no");
	if (wish == "yes" || indexOf(" " + args, " hide ") >= 0) hide = true;
	wish = option("apply", "no");
	if (wish == "yes" || indexOf(" " + args, " apply ") >= 0) apply = true;
}
if (results == "") return "" + stop("results: nothing named (expected the results folder of a run). Name one.");
status = getDirectory("temp") + "cellpose-fiji-" + d2s(getTime(), 0) + ".txt";

// The bridge says which fields there are; names may hold any letter, so they come through the status file.
bridge(newArray("correct", results, "--list", "--status", status));
problem = answer("its fields could not be listed");
if (problem != "") return "" + stop(problem);
names = split(fact(status, "fields"), "\n");
remaining = split(fact(status, "remaining"), "\n");
if (names.length == 0) return "" + stop(results + ": has no finished fields. Look at failures.csv.");
if (args == "" && !hide) {
	Dialog.create("Correct cells");
	Dialog.addChoice("Field", names, call("ij.Prefs.get", "cellposefiji.field", names[0]));
	Dialog.show();
	field = Dialog.getChoice();
	call("ij.Prefs.set", "cellposefiji.field", field);
} else if (args == "") {
	if (remaining.length == 0) return "" + stop("every field was opened for correction already. Untick 'Hide the condition' to continue one of them.");
	field = remaining[floor(random * remaining.length)];
} else field = option("field", "");

if (hide) bridge(newArray("correct", results, "--field", field, "--hide-condition", "--status", status));
else bridge(newArray("correct", results, "--field", field, "--status", status));
problem = answer("the field could not be opened for correction");
if (problem != "") return "" + stop(problem);
zip = fact(status, "path");
if (!File.exists(zip)) return "" + stop(zip + ": is not there (expected the ROI set to edit). Check the folder and the disk.");
image = replace(zip, "_RoiSet.zip", ".tif");
if (!File.exists(image)) return "" + stop(image + ": is not there (expected the images of the field). Move " + zip + " elsewhere and try again.");

if (roiManager("count") > 0 && args == "") showMessageWithCancel("Correct cells", "The ROI Manager holds " + roiManager("count") + " ROIs. They are removed from it.");
roiManager("reset");
open(image);
setLocation(20, 120);
field = File.getNameWithoutExtension(image);
if (File.length(zip) > 22) roiManager("open", zip);
roiManager("show all with labels");
setTool("freehand");
waitForUser("Correct cells", "Correct the " + roiManager("count") + " cells of " + field + " in the ROI Manager:\n \ndelete: select, Delete\nredraw: select, draw, Update\nadd: draw, then t\nmerge: select several, More > OR (Combine), t, delete the old ones\nsplit: draw the parts, t after each, delete the old one\n \nOK saves the corrected ROI set; Esc leaves it as it was.");
n = roiManager("count");
if (n == 0) return "" + stop(field + ": the ROI Manager is empty (expected the corrected cells: ImageJ saves no empty ROI set). Nothing was saved.");
part = zip + ".part.zip";
roiManager("deselect");
roiManager("save", part);
if (!File.exists(part)) return "" + stop(zip + ": could not be written. Check the folder and the disk.");
ok = File.delete(zip);
ok = File.rename(part, zip);
if (!File.exists(zip)) return "" + stop(zip + ": could not be written; the corrected set is in " + part + ". Check the folder and the disk.");
if (args == "") {
	Dialog.create("Correct cells");
	Dialog.addMessage(field + " was saved.");
	Dialog.addCheckbox("Measure the corrected fields again, make tables and figures anew (untick to correct more fields first)", true);
	Dialog.show();
	apply = Dialog.getCheckbox();
}
if (apply) bridge(newArray("correct", results, "--apply", "--status", status));
else bridge(newArray("correct", results, "--collect", "--status", status));
problem = answer("it was saved, but could not be used");
if (problem != "") return "" + stop(problem);
said = fact(status, "changes");
ok = File.delete(status);
if (args == "") showMessage("Correct cells", said);
if (returns) return "OK: " + said;


// Gives the bridge a command and waits for its end; its status file says what came of it.
function bridge(words) {
	if (kept) {
		text = "";
		for (i = 0; i < words.length; i++) text = text + "\"" + escaped(words[i]) + "\", ";
		File.saveString("arguments = [" + text + "]\n", status + "-request.toml");
		run("Ask Worker", "request=[" + status + "-request.toml] wait=true");
	} else if (words.length == 5) said = exec(command, words[0], words[1], words[2], words[3], words[4]);
	else if (words.length == 6) said = exec(command, words[0], words[1], words[2], words[3], words[4], words[5]);
	else said = exec(command, words[0], words[1], words[2], words[3], words[4], words[5], words[6]);
}

// What went wrong in the command that was just given; empty if nothing did.
function answer(what) {
	state = fact(status, "state");
	if (state == "done") return "";
	message = fact(status, "message");
	advice = "Look into the Log, or choose Install Bridge.";
	if (!kept) advice = "Try it in a terminal: " + command + " doctor";
	if (message == "") message = "" + what + ": the bridge did not answer. " + advice;
	if (File.exists(status)) ok = File.delete(status);
	return "" + message;
}

// One line of the status file: its name, a tab, its value; empty while the file is not whole.
function fact(status, name) {
	if (!File.exists(status)) return "";
	text = "\n" + File.openAsString(status);
	begin = indexOf(text, "\n" + name + "\t");
	if (begin < 0 || indexOf(text, "\nend\t") < 0) return "";
	begin = begin + lengthOf(name) + 2;
	return "" + unescaped(substring(text, begin, indexOf(text, "\n", begin)));
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

function unescaped(text) {
	j = indexOf(text, "\\u");
	while (j >= 0) {
		text = substring(text, 0, j) + fromCharCode(parseInt(substring(text, j + 2, j + 6), 16)) + substring(text, j + 6);
		j = indexOf(text, "\\u", j + 1);
	}
	return text;
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
		call("ij.IJ.error", "Correct cells", text);
	} else showMessage("Correct cells", text);
	exit;
}
